"""Default weights that cannot be had are known before torch is loaded, and nothing else is claimed."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm

from clearsight.core.errors import WeightsUnavailable
from clearsight.models.early_probe import check_default_weights, timm_repositories, torchvision_urls
from tests.models.servers import answering_server, silent_server


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the empty cache of a hub that does not answer."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with silent_server() as url:
        pass  # closed: its port refuses
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setenv("HTTPS_PROXY", url)  # for download.pytorch.org
    return tmp_path


def test_the_repository_that_timm_downloads_from_is_among_those_of_the_source() -> None:
    hosted = {name: timm.models.get_pretrained_cfg(name).hf_hub_id for name in timm.list_models("*resnet*")}
    read = {name: timm_repositories(f"timm/{name}") for name in hosted}
    assert not [name for name, repositories in read.items() if repositories and hosted[name] not in repositories]
    assert sum(map(bool, read.values())) > 0.9 * sum(map(bool, hosted.values()))


def test_the_file_that_torchvision_downloads_is_among_those_of_the_source() -> None:
    import torchvision

    for name in torchvision.models.list_models(module=torchvision.models):
        assert torchvision.models.get_model_weights(name).DEFAULT.url in torchvision_urls(name)


@pytest.mark.parametrize("model", ["timm/mobilenetv2_100", "timm/resnet50.a1_in1k", "resnet18"])
def test_weights_that_are_nowhere_are_said(model: str, hub: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=f"cannot be reached: Connection refused, .* no file for {model}"):
        check_default_weights(model, [hub], hub)


def test_nothing_is_claimed_where_weights_may_be_had(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_default_weights("tiny", [hub], hub)  # has no weights
    check_default_weights("timm/legacy_seresnet50", [hub], hub)  # is on another server
    (hub / "models--timm--mobilenetv2_100.ra_in1k").mkdir()
    check_default_weights("timm/mobilenetv2_100", [], hub)
    (hub / "checkpoints").mkdir()
    (hub / "checkpoints/resnet18-f37072fd.pth").touch()
    check_default_weights("resnet18", [], hub)
    (hub / "vgg11.pth").touch()
    check_default_weights("vgg11", [hub], hub)
    with answering_server(200) as url:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        check_default_weights("timm/resnet18", [], hub)
