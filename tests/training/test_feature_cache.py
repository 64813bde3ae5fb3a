"""Features are computed once; the key holds all that they depend on."""

from pathlib import Path

import numpy as np
import pytest

from clearsight.training.feature_cache import FeatureKey, FeaturePass, cached_features

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
    from dataclasses import replace

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
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
    assert cached_features(tmp_path, KEY, compute(Counting())).values.shape == (1, 7, 5)


def test_a_damaged_entry_is_computed_again(tmp_path: Path) -> None:
    (tmp_path / KEY.name()).mkdir()
    (tmp_path / KEY.name() / "features.bin").write_bytes(b"half")
    assert cached_features(tmp_path, KEY, compute(Counting())).values.shape == (1, 7, 5)
