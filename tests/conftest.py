"""What every test may lean on: the shared data, a quiet machine, and no network."""

from __future__ import annotations

import os
import socket
from pathlib import Path

# Before torch is imported anywhere: spinning OpenMP threads cost more than they give on a small shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real images and weights: $CLEARSIGHT_SHARED, or ../shared beside the checkout."""
    folder = Path(os.environ.get("CLEARSIGHT_SHARED", Path(__file__).parents[2] / "shared")).resolve()
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder}: set CLEARSIGHT_SHARED")
    return folder


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches of clearsight go to a folder of the test session, never to the user's."""
    monkeypatch.setenv("CLEARSIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anywhere but loopback fails the test that tries."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else address
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {host}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's handwritten digits as PNG class folders with train, valid and test."""
    from clearsight.workflow.quickstart import write_digits

    return write_digits(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture(scope="session")
def real_weights(shared: Path) -> Path:
    """ImageNet weights of timm/mobilenetv2_100."""
    return shared / "weights" / "mobilenetv2_100_imagenet.safetensors"


@pytest.fixture(scope="session")
def scenes(shared: Path) -> Path:
    """720 training and 240 test images of six kinds of scene."""
    return shared / "data" / "intel-scenes"
