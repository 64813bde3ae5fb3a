"""Loading seconds are counted per part: read, decode, augment, collate."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clearsight.core.dataset import Pixels, ReadOptions
from clearsight.core.preprocess import PRESETS, Preprocess
from clearsight.core.recipe import DataSection
from clearsight.data import loader as loading
from clearsight.data.listing import open_listing
from clearsight.data.load_times import LoadTimes
from clearsight.data.loader import Loader, LoadPlan
from clearsight.data.splits import make_splits


def loader(digits: Path, **plan: object) -> Loader:
    """Return a loader of the validation split of the digits."""
    dataset = make_splits(open_listing(digits, "auto", ReadOptions()), path=str(digits), recipe=DataSection(), seed=0)
    return Loader(dataset.split("valid"), Preprocess(size=32, resize=36), LoadPlan(32, **plan))  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_part_is_counted(digits: Path, workers: int) -> None:
    digits_loader = loader(digits, workers=workers, augment=PRESETS["light"])
    images = sum(len(batch) for batch in digits_loader.epoch(1))
    sums = digits_loader.times.sums()
    assert sums["images"] == images
    assert sums["bytes"] > 100 * images
    assert all(sums[part] > 0 for part in ("read", "decode", "augment", "collate"))


def test_a_cached_image_is_not_decoded_again(digits: Path) -> None:
    digits_loader = loader(digits, memory_bytes=1 << 30)
    for _ in digits_loader.epoch(1):
        pass
    first = digits_loader.times.sums()
    for _ in digits_loader.epoch(2):
        pass
    second = digits_loader.times.sums()
    assert second["decode"] == first["decode"]
    assert second["images"] == 2 * first["images"]


def test_a_slow_decoder_shows_as_decoding(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(raw: bytes | Pixels, **more: object) -> Pixels:
        clock["now"] += 0.02
        return decode(raw, **more)  # type: ignore[arg-type]

    decode, clock = loading.decode, {"now": 0.0}
    monkeypatch.setattr(loading, "decode", slow)
    monkeypatch.setattr("clearsight.data.load_times.time.perf_counter", lambda: clock["now"])
    digits_loader = loader(digits, workers=0)
    images = sum(len(batch) for batch in digits_loader.epoch(1))
    sums = digits_loader.times.sums()
    assert sums["decode"] == pytest.approx(0.02 * images)
    assert sums["read"] == sums["collate"] == 0


def test_counts_from_several_threads() -> None:
    times = LoadTimes()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: times.add("images", 1), range(1000)))
    assert times.sums()["images"] == 1000
