"""Names of models are read from the source of the packages, so that a wrong one is said before torch is loaded."""

from __future__ import annotations

import pytest

from clearsight.core.errors import BadChoice
from clearsight.models import zoo
from clearsight.models.model_names import check_name, known_names


def test_the_names_are_those_that_the_packages_register() -> None:
    assert sorted(known_names()) == sorted(zoo.names())


@pytest.mark.parametrize(
    "name", ["tiny", "mobilenetv1_025", "resnet18", "timm/mobilenetv2_100", "timm/resnet50.a1_in1k", "vit_b_16"]
)
def test_a_known_name_passes(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("restnet18", "Did you mean resnet18?"),
        ("timm/mobilnetv2_100", "Did you mean timm/mobilenetv2_100?"),
        ("mobilenetv2_100", "Write timm/mobilenetv2_100."),
        ("timm/tiny", "there is no model of that name"),
        ("timm/", "there is no model of that name"),
        ("", "there is no model of that name"),
        ("ResNet18", "Did you mean resnet18?"),
        ("resnet18.tv_in1k", "there is no model of that name"),
    ],
)
def test_an_unknown_name_has_a_hint(name: str, hint: str) -> None:
    with pytest.raises(BadChoice) as caught:
        check_name(name, "--space model=")
    assert str(caught.value).startswith(f"--space model={name}: there is no model of that name")
    assert hint in str(caught.value)
    with pytest.raises(BadChoice):
        zoo.find(name)


def test_the_names_of_a_plug_in_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "clearsight.models.model_names.PROVIDERS.names", lambda: ["clearsight", "torchvision", "timm", "x"]
    )
    check_name("x/net")
