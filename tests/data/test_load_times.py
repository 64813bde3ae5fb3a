"""What making images costs, part by part."""

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
    """A loader of the first two hundred digits or so."""
    dataset = make_splits(open_listing(digits, "auto", ReadOptions()), path=str(digits), recipe=DataSection(), seed=0)
    return Loader(dataset.split("valid"), Preprocess(size=32, resize=36), LoadPlan(32, **plan))  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_part_is_counted(digits: Path, workers: int) -> None:
    made = loader(digits, workers=workers, augment=PRESETS["light"])
    images = sum(len(batch) for batch in made.epoch(1))
    sums = made.times.sums()
    assert sums["images"] == images
    assert sums["bytes"] > 100 * images
    assert all(sums[part] > 0 for part in ("read", "decode", "augment", "collate"))


def test_what_is_kept_is_not_decoded_again(digits: Path) -> None:
    made = loader(digits, memory_bytes=1 << 30)
    for _ in made.epoch(1):
        pass
    first = made.times.sums()
    for _ in made.epoch(2):
        pass
    second = made.times.sums()
    assert second["decode"] == first["decode"]
    assert second["images"] == 2 * first["images"]


def test_a_slow_decoder_shows_as_decoding(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(raw: bytes | Pixels, **more: object) -> Pixels:
        clock["now"] += 0.02
        return decode(raw, **more)  # type: ignore[arg-type]

    decode, clock = loading.decode, {"now": 0.0}
    monkeypatch.setattr(loading, "decode", slow)
    monkeypatch.setattr("clearsight.data.load_times.time.perf_counter", lambda: clock["now"])
    made = loader(digits, workers=0)
    images = sum(len(batch) for batch in made.epoch(1))
    sums = made.times.sums()
    assert sums["decode"] == pytest.approx(0.02 * images)
    assert sums["read"] == sums["collate"] == 0


def test_counts_from_several_threads() -> None:
    times = LoadTimes()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: times.add("images", 1), range(1000)))
    assert times.sums()["images"] == 1000
