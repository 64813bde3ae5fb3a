"""A small run on real images with real weights, and datasets beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clearsight.core.bundle import Bundle
from clearsight.workflow.train import train


@pytest.fixture(scope="session")
def trained(shared: Path, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of a head on a frozen MobileNetV1, trained on 180 images of intel-scenes; not to be changed."""
    run = train(
        scenes,
        out=tmp_path_factory.mktemp("runs") / "scenes",
        model="mobilenetv1_025",
        weights=str(shared / "weights" / "mobilenetv1_025_128_imagenet.safetensors"),
        freeze="backbone",
        epochs=3,
        limit=180,
        debug="off",
        profile="off",
    )
    return run.path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the run, to export into."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def bundle(run: Path) -> Bundle:
    """Return the bundle of that copy."""
    return Bundle.open(run)
