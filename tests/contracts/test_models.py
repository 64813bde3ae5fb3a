"""Every family of models keeps the contract; named models do, and so do some that only the fallback knows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clearsight.models.freeze import freeze
from clearsight.models.network import Network
from clearsight.models.zoo import ModelSpec, build
from clearsight.testing.models import CLASSES, FamilyContract, first_loss

SIZES = {
    "tiny": 32,
    "mobilenetv1_025": 64,
    "alexnet": 224,
    "resnet18": 64,
    "resnet34": 64,
    "resnet50": 64,
    "resnet101": 64,
    "resnet152": 64,
    "efficientnet_b0": 64,
    "efficientnet_b4": 64,
    "efficientnet_b7": 64,
    "mobilenet_v2": 64,
    "timm/mobilenetv2_100": 64,
    "timm/convnext_tiny": 64,
    "timm/vit_tiny_patch16_224": 64,
    "densenet121": 64,
    "timm/regnetx_002": 64,
    "timm/resnetv2_50": 64,
}


@pytest.fixture(scope="module", params=list(SIZES))
def network(request: pytest.FixtureRequest) -> Network:
    return build(ModelSpec(model=request.param, classes=CLASSES))


@pytest.fixture
def size(network: Network) -> int:
    return SIZES[network.name]


class TestFamilies(FamilyContract):
    pass


@pytest.fixture(scope="module")
def scenes(shared: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Five real images of each of six classes, (30, 3, 128, 128) in [-1, 1], and their labels."""
    classes = sorted(folder for folder in (shared / "data/intel-scenes/seg_train").iterdir() if folder.is_dir())
    files = [(path, label) for label, folder in enumerate(classes) for path in sorted(folder.iterdir())[:5]]
    pixels = [np.asarray(Image.open(path).convert("RGB").resize((128, 128))) for path, _ in files]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images.contiguous(), torch.tensor([label for _, label in files])


@pytest.mark.parametrize(
    ("model", "file"),
    [
        ("timm/mobilenetv2_100", "mobilenetv2_100_imagenet.safetensors"),
        ("mobilenetv1_025", "mobilenetv1_025_128_imagenet.safetensors"),
    ],
)
@pytest.mark.parametrize("frozen", ["none", "backbone"])
@pytest.mark.parametrize("head", [(), (75, 50)])
def test_first_loss_with_pretrained_weights_is_near_log_c(
    model: str,
    file: str,
    frozen: str,
    head: tuple[int, ...],
    shared: Path,
    scenes: tuple[torch.Tensor, torch.Tensor],
) -> None:
    network = build(ModelSpec(model=model, classes=CLASSES, head=head, weights=str(shared / "weights" / file)))
    freeze(network, frozen)
    assert first_loss(network, *scenes) == pytest.approx(math.log(CLASSES), abs=0.1)
