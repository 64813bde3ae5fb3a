"""Image functions: PIL and torchvision are timed where they are used, and left as they were."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torchvision.io
from PIL import Image, ImageFile
from torchvision import transforms
from torchvision.transforms import v2

from clearsight.profiler.external.hot_lines import HotLines
from clearsight.profiler.external.image_hooks import listen
from clearsight.profiler.external.import_hook import ImportHook
from clearsight.profiler.external.load_timer import LoadTimer
from clearsight.profiler.external.patches import Patches
from clearsight.profiler.external.shared_counters import SharedCounters

PLACES = [
    *((Image, "open"), (ImageFile.ImageFile, "load"), (pathlib.Path, "read_bytes"), (transforms.Compose, "__call__")),
    *((v2.Compose, "forward"), (v2.Transform, "forward"), (torchvision.io, "read_image"), (np, "load")),
]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[LoadTimer]:
    """One that listens, on PIL, pathlib and torchvision; afterwards they are as they were."""
    reader, arrivals, patches = (
        LoadTimer(SharedCounters(lambda: tmp_path / "sums"), HotLines(tmp_path / "l")),
        ImportHook(),
        Patches(),
    )
    before, finders = [vars(owner)[name] for owner, name in PLACES], list(sys.meta_path)
    failures: list[Exception] = []
    listen(reader, arrivals, patches, failed=failures.append)
    assert all(vars(owner)[name] is not was for (owner, name), was in zip(PLACES, before, strict=True))
    yield reader
    arrivals.forget()
    patches.undo()
    reader.close()
    assert failures == []
    assert [vars(owner)[name] for owner, name in PLACES] == before
    assert sys.meta_path == finders


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "image.jpg"
    pixels = np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_pil_reads_and_decodes(reader: LoadTimer, photo: Path) -> None:
    reader.begin()
    with Image.open(photo) as image:
        image.convert("RGB")
    reader.end(1)
    sums = reader.sums()
    assert sums["decode"] > sums["read"] > 0
    assert sums["bytes"] == photo.stat().st_size


def test_bytes_read_before_decoding_are_reading(reader: LoadTimer, photo: Path) -> None:
    reader.begin()
    assert photo.read_bytes()
    reader.end(1)
    assert reader.sums()["read"] > 0
    assert reader.sums()["bytes"] == photo.stat().st_size


@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
def test_torchvision_reads_and_decodes(reader: LoadTimer, photo: Path) -> None:
    reader.begin()
    torchvision.io.read_image(str(photo))
    reader.end(1)
    assert reader.sums()["decode"] > 0


@pytest.mark.parametrize("make", [lambda: transforms.Compose([transforms.Resize(64)]), lambda: v2.Resize(64)])
def test_transforms_augment(reader: LoadTimer, photo: Path, make) -> None:  # type: ignore[no-untyped-def]
    with Image.open(photo) as image:
        image.load()
        reader.begin()
        make()(image)
        reader.end(1)
    assert reader.sums()["augment"] > 0


def test_a_file_that_is_not_there_is_told_by_the_function_itself(reader: LoadTimer, tmp_path: Path) -> None:
    reader.begin()
    with pytest.raises(FileNotFoundError):
        Image.open(tmp_path / "nowhere.jpg")
    reader.end(0)
    assert reader.sums()["bytes"] == 0
