"""image_hooks: PIL and torchvision are timed, and left as they were."""

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
from clearsight.profiler.external.load_timer import LoadTimer, SharedCounters
from clearsight.profiler.external.patches import Patches

HOOKED = [
    *((Image, "open"), (ImageFile.ImageFile, "load"), (pathlib.Path, "read_bytes"), (transforms.Compose, "__call__")),
    *((v2.Compose, "forward"), (v2.Transform, "forward"), (torchvision.io, "read_image"), (np, "load")),
]


@pytest.fixture
def load_timer(tmp_path: Path) -> Iterator[LoadTimer]:
    """Time PIL, pathlib and torchvision, and check that they are as before afterwards."""
    load_timer, import_hook, patches = (
        LoadTimer(SharedCounters(lambda: tmp_path / "sums"), HotLines(tmp_path / "l")),
        ImportHook(),
        Patches(),
    )
    # Python 3.13 inherits `Path.read_bytes`.
    originals, finders = [vars(owner).get(name) for owner, name in HOOKED], list(sys.meta_path)
    guards = listen(load_timer, import_hook, patches)
    assert all(vars(owner)[name] is not original for (owner, name), original in zip(HOOKED, originals, strict=True))
    yield load_timer
    import_hook.cancel()
    patches.undo()
    load_timer.close()
    assert not any(guard.off for guard in guards)
    assert [vars(owner).get(name) for owner, name in HOOKED] == originals
    assert sys.meta_path == finders


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "image.jpg"
    pixels = np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_pil_reads_and_decodes(load_timer: LoadTimer, photo: Path) -> None:
    load_timer.begin()
    with Image.open(photo) as image:
        image.convert("RGB")
    load_timer.end(1)
    sums = load_timer.sums()
    assert sums["decode"] > sums["read"] > 0
    assert sums["bytes"] == photo.stat().st_size


def test_bytes_read_before_decoding_are_reading(load_timer: LoadTimer, photo: Path) -> None:
    load_timer.begin()
    assert photo.read_bytes()
    load_timer.end(1)
    assert load_timer.sums()["read"] > 0
    assert load_timer.sums()["bytes"] == photo.stat().st_size


@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
def test_torchvision_reads_and_decodes(load_timer: LoadTimer, photo: Path) -> None:
    load_timer.begin()
    torchvision.io.read_image(str(photo))
    load_timer.end(1)
    assert load_timer.sums()["decode"] > 0


@pytest.mark.parametrize("make", [lambda: transforms.Compose([transforms.Resize(64)]), lambda: v2.Resize(64)])
def test_transforms_augment(load_timer: LoadTimer, photo: Path, make) -> None:  # type: ignore[no-untyped-def]
    with Image.open(photo) as image:
        image.load()
        load_timer.begin()
        make()(image)
        load_timer.end(1)
    assert load_timer.sums()["augment"] > 0


def test_a_missing_file_raises_the_error_of_the_function(load_timer: LoadTimer, tmp_path: Path) -> None:
    load_timer.begin()
    with pytest.raises(FileNotFoundError):
        Image.open(tmp_path / "nowhere.jpg")
    load_timer.end(0)
    assert load_timer.sums()["bytes"] == 0


def test_another_version_of_a_library_is_not_timed_and_disturbs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(ImageFile, "ImageFile")
    hook, patches = ImportHook(), Patches()
    guards = listen(LoadTimer(SharedCounters(lambda: tmp_path / "sums"), HotLines(tmp_path / "l")), hook, patches)
    hook.cancel()
    patches.undo()
    assert [guard.part for guard in guards if guard.off] == ["the profiler's timing of PIL.ImageFile"]
    assert len(caplog.records) == 1
