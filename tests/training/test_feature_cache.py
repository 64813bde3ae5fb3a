"""Features are computed once; the key holds all that they depend on."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clearsight.training.feature_cache import FeatureKey, FeaturePass, cached_features, is_cached

KEY = FeatureKey(images="p", weights="w", preprocess="224", cut="layer4")


class Counting:
    """A prefix that counts the images that go through it."""

    def __init__(self, width: int = 5) -> None:
        self.seen, self.width = 0, width

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.seen += len(images)
        return np.repeat(images.mean(axis=(1, 2, 3))[:, None], self.width, axis=1).astype(np.float32)


def compute(prefix: Counting, views: int = 1) -> FeaturePass:
    def view(number: int) -> list[np.ndarray]:
        whole = np.arange(7, dtype=np.float32)[:, None, None, None] + 100 * number
        return list(np.array_split(np.broadcast_to(whole, (7, 3, 4, 4)).astype(np.float32), 3))

    return FeaturePass(7, views, prefix, view, lambda done, total: None)


def test_features_are_computed_once_and_then_read(tmp_path: Path) -> None:
    prefix = Counting()
    assert not (tmp_path / KEY.name() / "manifest.json").exists()
    first = cached_features(tmp_path, KEY, compute(prefix)).values
    second = cached_features(tmp_path, KEY, compute(prefix)).values
    assert prefix.seen == 7
    assert first.shape == (1, 7, 5)
    assert np.array_equal(first, second)
    assert first[0, :, 0].tolist() == list(range(7))


def test_views_are_separate(tmp_path: Path) -> None:
    stored = cached_features(tmp_path, KEY, compute(Counting(), views=3)).values
    assert stored[:, 0, 0].tolist() == [0, 100, 200]


@pytest.mark.parametrize("field", ["images", "weights", "preprocess", "cut", "augment", "views"])
def test_every_part_of_the_key_makes_another_entry(field: str) -> None:
    changed = replace(KEY, **{field: 9 if field == "views" else "other"})
    assert changed.name() != KEY.name()


def test_large_maps_are_stored_in_half_precision(tmp_path: Path) -> None:
    assert cached_features(tmp_path, KEY, compute(Counting(20_000))).values.dtype == np.float16


def test_an_interrupted_pass_leaves_no_entry(tmp_path: Path) -> None:
    class Breaking(Counting):
        def __call__(self, images: np.ndarray) -> np.ndarray:
            if self.seen:
                raise KeyboardInterrupt
            return super().__call__(images)

    with pytest.raises(KeyboardInterrupt):
        cached_features(tmp_path, KEY, compute(Breaking()))
    assert entries(tmp_path) == []
    assert cached_features(tmp_path, KEY, compute(Counting())).values.shape == (1, 7, 5)


def entries(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


def flipped(data: bytes) -> bytes:
    return data[:9] + bytes([data[9] ^ 64]) + data[10:]


DAMAGE = {
    "features without a manifest": lambda entry: (entry / "manifest.json").unlink(),
    "manifest without features": lambda entry: (entry / "features.bin").unlink(),
    "flipped bit": lambda entry: (entry / "features.bin").write_bytes(flipped((entry / "features.bin").read_bytes())),
    "zeroed": lambda entry: (entry / "features.bin").write_bytes(bytes((entry / "features.bin").stat().st_size)),
    "truncated": lambda entry: os.truncate(entry / "features.bin", 40),
    "longer": lambda entry: (entry / "features.bin").write_bytes((entry / "features.bin").read_bytes() + b"0000"),
    "empty": lambda entry: os.truncate(entry / "features.bin", 0),
    "manifest of zeros": lambda entry: (entry / "manifest.json").write_bytes(bytes(100)),
    "manifest is a list": lambda entry: (entry / "manifest.json").write_text("[1]"),
    "manifest of another version": lambda entry: (entry / "manifest.json").write_text('{"shape": [1, 7, 5]}'),
    "another shape": lambda entry: edit(entry, shape=[1, 5, 7]),
    "an enormous shape": lambda entry: edit(entry, shape=[1 << 40, 1 << 40]),
    "no number": lambda entry: edit(entry, shape=["a"]),
    "another type": lambda entry: edit(entry, dtype="object"),
}


def edit(entry: Path, **changes: object) -> None:
    path = entry / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_computed_again_with_a_note(
    tmp_path: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    whole = np.array(cached_features(tmp_path, KEY, compute(Counting())).values)
    damage(tmp_path / KEY.name())
    again = cached_features(tmp_path, KEY, compute(Counting()))
    assert again.computed
    assert np.array_equal(again.values, whole)
    assert caplog.messages == [
        f"note: the cached features in {tmp_path / KEY.name()} are damaged; they are made again."
    ]
    assert not cached_features(tmp_path, KEY, compute(Counting())).computed


def test_without_a_folder_to_write_to_features_stay_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    for _ in range(2):
        found = cached_features(tmp_path / "file" / "cache" / "features", KEY, compute(Counting(), views=2))
        assert found.computed
        assert found.values[:, 0, 0].tolist() == [0, 100]
    (message,) = caplog.messages
    assert message.startswith(f"note: the cache {tmp_path / 'file' / 'cache'} cannot be written to")


@pytest.mark.parametrize("batches", [0, 1, 2], ids=["at once", "after one batch", "after two batches"])
def test_a_disk_that_fills_up_costs_no_feature(batches: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Filling(Counting):
        """Lets files grow no more once so many batches have been computed."""

        def __call__(self, images: np.ndarray) -> np.ndarray:
            if self.seen == (0, 3, 5)[batches]:
                resource.setrlimit(resource.RLIMIT_FSIZE, ((0, 60, 100)[batches] + 7, limits[1]))
            return super().__call__(images)

    limits, action = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        found = cached_features(tmp_path / "features", KEY, compute(Filling()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, action)
    assert found.values[0, :, 0].tolist() == list(range(7))
    assert entries(tmp_path / "features") == []
    assert "cannot be written to (File too large)" in caplog.text


def test_a_disk_that_is_full_at_the_end_costs_no_feature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    found = cached_features(tmp_path / "features", KEY, compute(Counting()))
    assert found.values[0, :, 0].tolist() == list(range(7))
    assert entries(tmp_path / "features") == []
    assert "No space left on device" in caplog.text


def test_features_of_images_that_changed_meanwhile_are_not_stored(tmp_path: Path) -> None:
    changed = replace(compute(Counting()), fits_key=lambda: False)
    assert cached_features(tmp_path, KEY, changed).values[0, :, 0].tolist() == list(range(7))
    assert not is_cached(tmp_path, KEY)
    assert entries(tmp_path) == []


def test_a_shared_cache_may_be_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached_features(tmp_path, KEY, compute(Counting()))

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.utime", refused)
    assert not cached_features(tmp_path, KEY, compute(Counting())).computed
