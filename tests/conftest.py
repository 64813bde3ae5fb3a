"""Fixtures of every test: shared data and caches of its own; connections to other machines fail."""

from __future__ import annotations

import os
import socket
from pathlib import Path

# Set before torch and numpy are imported: threads that spin while they wait slow down a small shared machine. With two
# processes on two cores numpy's linear algebra takes much longer in two threads than in one.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from hypothesis import settings

# The same examples in every run; and one that is slow on a loaded machine is no defect.
settings.register_profile("deterministic", deadline=None, derandomize=True, database=None)
settings.load_profile("deterministic")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with real images and weights: $CLEARSIGHT_SHARED, or ../shared next to the checkout."""
    folder = Path(os.environ.get("CLEARSIGHT_SHARED", Path(__file__).parents[2] / "shared")).resolve()
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder}: set CLEARSIGHT_SHARED")
    return folder


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the caches of clearsight into a folder of the test session, not into the user's."""
    monkeypatch.setenv("CLEARSIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that connects to anything but loopback."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else address
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to connect to {host}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Handwritten digits of scikit-learn as PNG files in class folders of train, valid and test."""
    from clearsight.workflow.quickstart import write_digits

    return write_digits(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture(scope="session")
def real_weights(shared: Path) -> Path:
    """Return the file with ImageNet weights of timm/mobilenetv2_100."""
    return shared / "weights" / "mobilenetv2_100_imagenet.safetensors"


@pytest.fixture(scope="session")
def scenes(shared: Path) -> Path:
    """Return intel-scenes: 720 training and 240 test images of six classes."""
    return shared / "data" / "intel-scenes"
