"""Folding: fewer steps, the same function."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clearsight.models.folding import fold
from clearsight.models.zoo import ModelSpec, build


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
