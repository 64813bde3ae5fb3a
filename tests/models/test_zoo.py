"""Building by name: the names, the error for an unknown one, and what the seed decides."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.recipe import UNTRAINED_MODELS
from clearsight.models.providers.builtin import PROVIDER
from clearsight.models.zoo import ModelSpec, build, names, reset_head


def test_names_of_all_collections_without_building_anything() -> None:
    known = names()
    assert {"tiny", "alexnet", "resnet34", "efficientnet_b7", "timm/mobilenetv2_100"} <= set(known)
    assert len(known) == len(set(known)) > 1000
    assert not [name for name in known if "rcnn" in name or "quantized" in name]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("resnet43", "Did you mean resnet34?"),
        ("ResNet18", "Did you mean resnet18?"),
        ("timm/mobilnetv2_100", "Did you mean timm/mobilenetv2_100?"),
        ("mobilenetv2_100", "Write timm/mobilenetv2_100."),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(wrong: str, hint: str) -> None:
    with pytest.raises(BadChoice, match=rf"--model {wrong}: there is no model of that name") as caught:
        build(ModelSpec(model=wrong, classes=3))
    assert hint in str(caught.value)


def test_an_unknown_tag_of_timm_weights_is_refused() -> None:
    with pytest.raises(BadChoice, match=r"--model timm/resnet18\.a1_in1kk: .* Did you mean a1_in1k\?"):
        build(ModelSpec(model="timm/resnet18.a1_in1kk", classes=3))


def test_a_tag_chooses_the_preprocessing() -> None:
    assert build(ModelSpec(model="timm/resnet18.a1_in1k", classes=3)).preprocess.interpolation == "bicubic"


def test_a_model_without_a_linear_classifier_is_refused() -> None:
    with pytest.raises(BadChoice, match="--model squeezenet1_1: it does not end in one linear layer"):
        build(ModelSpec(model="squeezenet1_1", classes=3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": 1}, "classes 1"),
        ({"classes": 3, "head": (10, 0)}, "--head 10,0"),
        ({"classes": 3, "dropout": 1.0}, "--dropout 1.0"),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        build(ModelSpec(model="tiny", **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["tiny", "resnet18", "timm/vit_tiny_patch16_224"])
def test_the_seed_decides_every_weight_and_the_global_state_does_not(model: str) -> None:
    torch.manual_seed(1)
    first = build(ModelSpec(model=model, classes=3, seed=5)).model.state_dict()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = build(ModelSpec(model=model, classes=3, seed=5)).model.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(torch.get_rng_state(), state)
    other = build(ModelSpec(model=model, classes=3, seed=6)).model.state_dict()
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(
    ("model", "size", "mean"),
    [("tiny", 32, 0.5), ("resnet50", 224, 0.485), ("efficientnet_b7", 600, 0.485), ("inception_v3", 299, 0.485)],
)
def test_preprocessing_comes_with_the_architecture(model: str, size: int, mean: float) -> None:
    network = build(ModelSpec(model=model, classes=3))
    assert (network.preprocess.size, network.preprocess.mean[0]) == (size, mean)
    assert network.weights.startswith(f"random weights; mean {mean:g}/")
    assert network.preprocess.source in network.weights


def test_any_other_model_is_one_stage() -> None:
    network = build(ModelSpec(model="shufflenet_v2_x0_5", classes=3))
    assert network.stage_names == ("backbone",)


def test_tiny_is_tiny() -> None:
    network = build(ModelSpec(model="tiny", classes=10))
    assert 100_000 < sum(parameter.numel() for parameter in network.model.parameters()) < 300_000
    assert network.model(torch.zeros(2, 3, 8, 8)).shape == (2, 10)


def test_importing_the_zoo_loads_no_model_collection() -> None:
    check = "import sys, clearsight.models.zoo; sys.exit(bool({'timm', 'torchvision'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_models_without_pretrained_weights_are_known_before_a_network_is_built() -> None:
    assert set(UNTRAINED_MODELS) == set(PROVIDER.names())


@pytest.mark.parametrize(("model", "head"), [("tiny", ()), ("tiny", (8,)), ("timm/resnetv2_50", ())])
def test_a_reset_head_is_the_one_that_the_network_began_with(model: str, head: tuple[int, ...]) -> None:
    spec = ModelSpec(model=model, classes=4, head=head, dropout=0.1, seed=3)
    network = build(spec)
    first = {name: tensor.clone() for name, tensor in network.model.state_dict().items()}
    with torch.no_grad():
        for parameter in network.head_parameters():
            parameter.add_(1)
    reset_head(network, spec)
    assert all(torch.equal(tensor, first[name]) for name, tensor in network.model.state_dict().items())
