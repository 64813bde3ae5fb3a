"""The quickest runtime: equal to torch, honest about its name, and never wrong in silence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.models import runtime
from clearsight.models.freeze import freeze
from clearsight.models.runtime import fastest_runtime, fold
from clearsight.models.zoo import ModelSpec, build


def random_images(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3, size, size)).astype(np.float32)


@pytest.fixture
def no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: None)


def plain(prefix: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(prefix.eval()(torch.from_numpy(images)))


@pytest.mark.parametrize("model", ["resnet18", "timm/mobilenetv2_100", "timm/vit_tiny_patch16_224", "densenet121"])
def test_every_runtime_gives_the_features_of_torch(model: str) -> None:
    network = build(ModelSpec(model=model, classes=3))
    prefix = network.prefix(len(network.stages))
    run = fastest_runtime(prefix, random_images(1), threads=1)
    expected = plain(prefix, random_images(5))
    assert run.name in ("openvino", "torch-folded", "torch")
    np.testing.assert_allclose(run(random_images(5)), expected, atol=1e-3 * np.abs(expected).max())


def test_maps_of_a_partial_prefix_keep_their_shape() -> None:
    network = build(ModelSpec(model="resnet18", classes=3))
    assert fastest_runtime(network.prefix(4), random_images(1), threads=1)(random_images(3)).shape == (3, 256, 4, 4)


def test_a_result_does_not_depend_on_its_neighbours() -> None:
    pytest.importorskip("openvino")
    network = build(ModelSpec(model="resnet18", classes=3))
    run = fastest_runtime(network.prefix(5), random_images(1), threads=2)
    assert run.name == "openvino"
    in_batch = run(random_images(9))
    np.testing.assert_array_equal(np.concatenate([run(random_images(9)[i : i + 1]) for i in range(9)]), in_batch)


def test_without_openvino_torch_is_folded(no_openvino: None) -> None:
    network = build(ModelSpec(model="resnet18", classes=3))
    run = fastest_runtime(network.prefix(5), random_images(2), threads=1)
    assert (run.name, run.note) == ("torch-folded", "")
    expected = plain(network.prefix(5), random_images(4))
    np.testing.assert_allclose(run(random_images(4)), expected, atol=1e-3 * np.abs(expected).max())


def test_a_network_that_cannot_be_traced_runs_in_torch(no_openvino: None) -> None:
    network = build(ModelSpec(model="timm/vit_tiny_patch16_224", classes=3))
    run = fastest_runtime(network.prefix(13), random_images(1), threads=1)
    assert run.name == "torch"
    assert run.note.startswith("torch-folded cannot run it (")


def test_a_runtime_that_disagrees_is_not_used(no_openvino: None, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(ModelSpec(model="tiny", classes=3))
    monkeypatch.setattr(runtime, "_folded", lambda twin, *_: lambda images: plain(twin, images) * 1.01)
    run = fastest_runtime(network.prefix(2), random_images(1), threads=1)
    assert (run.name, run.note) == ("torch", "torch-folded disagrees by 0.01 of the largest output")


def test_training_mode_hooks_and_later_changes_do_not_reach_it() -> None:
    network = build(ModelSpec(model="tiny", classes=3))
    frozen = freeze(network, "backbone")
    prefix = network.prefix(frozen.cut)
    with network.model.get_submodule("stem").register_forward_hook(lambda *_: pytest.fail("a hook fired")):
        run = fastest_runtime(prefix, random_images(1), threads=1)
        before = run(random_images(2))
    with torch.no_grad():
        for parameter in prefix.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(run(random_images(2)), before)


def test_no_images_give_no_features() -> None:
    network = build(ModelSpec(model="tiny", classes=3))
    assert fastest_runtime(network.prefix(4), random_images(1), threads=1)(random_images(0)).shape == (0, 128)


def shaken(module: nn.Module) -> nn.Module:
    """In eval mode, with BatchNorm statistics that are not those of a fresh module."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -1, 1)  # type: ignore[arg-type]
            nn.init.uniform_(part.running_var, 0.5, 2)  # type: ignore[arg-type]
            nn.init.uniform_(part.weight, 0.5, 2)
    return module.eval()


@pytest.mark.parametrize("model", ["tiny", "resnet18", "mobilenet_v2", "timm/mobilenetv2_100", "timm/resnet26"])
def test_no_norm_is_left_and_the_features_are_equal(model: str) -> None:
    network = build(ModelSpec(model=model, classes=3))
    prefix = shaken(network.prefix(2))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = prefix(images)
        folded = fold(prefix)
        torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert not [part for part in folded.modules() if isinstance(part, nn.BatchNorm2d)]


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.conv(images)
        return self.norm(maps) + maps


def test_a_convolution_with_other_users_is_not_folded() -> None:
    module = shaken(Shared())
    images = torch.randn(1, 3, 4, 4)
    expected = module(images)
    folded = fold(module)
    assert any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    torch.testing.assert_close(folded(images), expected)
