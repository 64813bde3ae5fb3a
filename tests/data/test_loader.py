"""The content of batches depends on seed and epoch, not on threads or memory."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.dataset import ClassMap, Dataset, Pixels, Sample
from clearsight.core.errors import BadChoice, BadData, BadImage, BadValue, EmptyInput, NotFound
from clearsight.core.preprocess import PRESETS, Augment, Preprocess
from clearsight.core.recipe import DataSection
from clearsight.data import loader as loading
from clearsight.data.decode import decode
from clearsight.data.geometry import crop
from clearsight.data.loader import LoadedBatch, Loader, LoadPlan, LoadTimes, PixelCache, epoch_order, occurrence
from clearsight.data.readers import open_listing
from clearsight.data.readers.support.files import FileSource
from clearsight.data.scan import drop_bad_images, scan_images
from clearsight.data.splits import make_splits

PREPROCESS = Preprocess(size=32, resize=36)


@dataclass
class Files:
    root: Path
    reads: list[str] = field(default_factory=list)

    def read(self, locator: str) -> bytes | Pixels:
        self.reads.append(locator)
        return (self.root / locator).read_bytes()

    def stamp(self, locator: str) -> str:
        return str((self.root / locator).stat().st_size)


def of(root: Path, labelled: list[tuple[str, int | None]], classes: int = 2) -> Dataset:
    samples = tuple(Sample(id=name, locator=name, label=label, split="train") for name, label in labelled)
    return Dataset(samples=samples, classes=ClassMap(tuple("abcdef"[:classes])), source=Files(root), path="scenes")


@pytest.fixture
def scenes(shared: Path) -> Dataset:
    """30 real images in unequal classes: 20 forests, 7 seas, 3 streets."""
    root = shared / "data/intel-scenes/seg_train"
    names = [
        (path.relative_to(root).as_posix(), label)
        for label, (name, count) in enumerate([("forest", 20), ("sea", 7), ("street", 3)])
        for path in sorted((root / name).iterdir())[:count]
    ]
    return of(root, names, classes=3)


def reads(dataset: Dataset) -> list[str]:
    assert isinstance(dataset.source, Files)
    return dataset.source.reads


def same(batches_a: list[LoadedBatch], batches_b: list[LoadedBatch]) -> bool:
    return [batch.ids for batch in batches_a] == [batch.ids for batch in batches_b] and all(
        np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels)
        for a, b in zip(batches_a, batches_b, strict=True)
    )


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("clearsight-loader")]


def test_sequential_batches_show_every_image_once_as_evaluated(scenes: Dataset) -> None:
    batches = list(Loader(scenes, PREPROCESS, LoadPlan(8)).epoch(1))
    assert [len(batch) for batch in batches] == [8, 8, 8, 6]
    assert [name for batch in batches for name in batch.ids] == [sample.id for sample in scenes.samples]
    assert np.concatenate([batch.indices for batch in batches]).tolist() == list(range(30))
    assert np.array_equal(np.concatenate([batch.labels for batch in batches]), scenes.labels())
    first = batches[0]
    assert (first.images.shape, first.images.dtype, first.labels.dtype) == ((8, 32, 32, 3), np.uint8, np.int64)
    assert first.images.flags.c_contiguous
    assert first.images.flags.writeable
    for row, name in enumerate(first.ids):
        assert np.array_equal(first.images[row], crop(decode(scenes.source.read(name)), PREPROCESS))


@pytest.mark.parametrize("order", ["sequential", "shuffled", "balanced"])
@pytest.mark.parametrize("preset", ["none", "standard"])
def test_workers_and_memory_change_nothing(scenes: Dataset, order: str, preset: str) -> None:
    def batches(workers: int, memory_bytes: int) -> list[LoadedBatch]:
        plan = LoadPlan(
            7, augment=PRESETS[preset], order=order, seed=5, workers=workers, memory_bytes=memory_bytes  # type: ignore[arg-type]
        )  # fmt: skip
        loader = Loader(scenes, PREPROCESS, plan)
        list(loader.epoch(1))
        return list(loader.epoch(2))

    expected = batches(0, 0)
    assert same(batches(1, 0), expected)
    assert same(batches(4, 1 << 30), expected)
    assert same(batches(2, 200_000), expected)


def test_epochs_and_seeds_differ(scenes: Dataset) -> None:
    def ids(seed: int, epoch: int) -> list[str]:
        batches = Loader(scenes, PREPROCESS, LoadPlan(8, order="shuffled", seed=seed)).epoch(epoch)
        return [name for batch in batches for name in batch.ids]

    assert ids(0, 1) == ids(0, 1)
    assert sorted(ids(0, 1)) == sorted(ids(0, 2)) == sorted(sample.id for sample in scenes.samples)
    assert len({tuple(ids(0, 1)), tuple(ids(0, 2)), tuple(ids(1, 1))}) == 3


def test_the_order_is_known_without_reading(scenes: Dataset) -> None:
    loader = Loader(scenes, PREPROCESS, LoadPlan(8, order="shuffled", rank=1, world=2))
    order = loader.order(3).tolist()
    assert reads(scenes) == []
    assert order == [index for batch in loader.epoch(3) for index in batch.indices.tolist()]


def test_augmented_epochs_show_new_views(scenes: Dataset) -> None:
    loader = Loader(scenes, PREPROCESS, LoadPlan(30, augment=PRESETS["standard"]))
    first, second = (next(iter(loader.epoch(number))) for number in (1, 2))
    assert first.ids == second.ids
    assert not any(np.array_equal(a, b) for a, b in zip(first.images, second.images, strict=True))


def test_balanced_draws_classes_evenly_and_images_fairly(scenes: Dataset) -> None:
    loader = Loader(scenes, PREPROCESS, LoadPlan(8, order="balanced"))
    batches = list(loader.epoch(1))
    assert Counter(np.concatenate([batch.labels for batch in batches]).tolist()) == {0: 10, 1: 10, 2: 10}
    streets = Counter(name for batch in batches for name in batch.ids if name.startswith("street"))
    assert sorted(streets.values()) == [3, 3, 4]


def test_an_image_drawn_twice_shows_two_views(scenes: Dataset) -> None:
    plan = LoadPlan(30, order="balanced", augment=Augment(scale=(0.3, 1.0)))
    batch = next(iter(Loader(scenes, PREPROCESS, plan).epoch(1)))
    streets = [i for i, name in enumerate(batch.ids) if name.startswith("street")]
    assert len({batch.images[i].tobytes() for i in streets}) == len(streets) == 10


def test_balanced_needs_labels(scenes: Dataset) -> None:
    bare = of(scenes.source.root, [(scenes.samples[0].id, None)])  # type: ignore[attr-defined]
    with pytest.raises(BadData, match="has no label"):
        Loader(bare, PREPROCESS, LoadPlan(8, order="balanced"))


def test_unlabelled_images_have_label_minus_one(scenes: Dataset) -> None:
    bare = of(scenes.source.root, [(scenes.samples[0].id, None), (scenes.samples[1].id, 1)])  # type: ignore[attr-defined]
    assert next(iter(Loader(bare, PREPROCESS, LoadPlan(8)).epoch(1))).labels.tolist() == [-1, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_start_skips_without_reading(scenes: Dataset, workers: int) -> None:
    loader = Loader(scenes, PREPROCESS, LoadPlan(8, order="shuffled", workers=workers, augment=PRESETS["light"]))
    whole = list(loader.epoch(3))
    reads(scenes).clear()
    assert same(list(loader.epoch(3, start=2)), whole[2:])
    assert sorted(reads(scenes)) == sorted(whole[2].ids + whole[3].ids)
    assert list(loader.epoch(3, start=4)) == []


@pytest.mark.parametrize("order", ["shuffled", "balanced"])
def test_ranks_share_an_epoch_in_equal_parts(scenes: Dataset, order: str) -> None:
    def loader(rank: int, world: int) -> Loader:
        return Loader(scenes, PREPROCESS, LoadPlan(3, order=order, rank=rank, world=world))  # type: ignore[arg-type]

    whole = [name for batch in loader(0, 1).epoch(1) for name in batch.ids]
    shares = [[name for batch in loader(rank, 4).epoch(1) for name in batch.ids] for rank in range(4)]
    assert [len(share) for share in shares] == [8, 8, 8, 8]
    assert {loader(rank, 4).steps for rank in range(4)} == {3}
    assert [name for row in zip(*shares, strict=True) for name in row] == whole + whole[:2]


def test_ranks_evaluate_every_image_once(scenes: Dataset) -> None:
    loaders = [Loader(scenes, PREPROCESS, LoadPlan(3, rank=rank, world=4)) for rank in range(4)]
    shares = [[name for batch in loader.epoch(1) for name in batch.ids] for loader in loaders]
    assert [len(share) for share in shares] == [8, 8, 7, 7]
    assert sorted(name for share in shares for name in share) == sorted(sample.id for sample in scenes.samples)


def test_more_ranks_than_images(scenes: Dataset) -> None:
    two = of(scenes.source.root, [(sample.id, 0) for sample in scenes.samples[:2]])  # type: ignore[attr-defined]

    def sizes(order: str) -> list[int]:
        plans = [LoadPlan(2, order=order, rank=rank, world=5) for rank in range(5)]  # type: ignore[arg-type]
        return [sum(len(batch) for batch in Loader(two, PREPROCESS, plan).epoch(1)) for plan in plans]

    assert sizes("sequential") == [1, 1, 0, 0, 0]
    assert sizes("shuffled") == [1, 1, 1, 1, 1]


def test_drop_last_leaves_out_the_smaller_batch(scenes: Dataset) -> None:
    loader = Loader(scenes, PREPROCESS, LoadPlan(8, drop_last=True))
    assert loader.steps == 3
    assert [len(batch) for batch in loader.epoch(1)] == [8, 8, 8]


def test_memory_reads_each_image_once(scenes: Dataset) -> None:
    loader = Loader(scenes, PREPROCESS, LoadPlan(8, order="shuffled", memory_bytes=1 << 30, augment=PRESETS["light"]))
    for epoch in (1, 2, 3):
        list(loader.epoch(epoch))
    assert Counter(reads(scenes)) == {sample.id: 1 for sample in scenes.samples}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_named(shared: Path, workers: int) -> None:
    names = ["good.jpg", "gray.jpg", "truncated_half.jpg", "alpha.png"]
    dataset = of(shared / "data/bad-inputs", [(name, 0) for name in names])
    batches = Loader(dataset, PREPROCESS, LoadPlan(2, workers=workers)).epoch(1)
    assert next(batches).ids == ("good.jpg", "gray.jpg")
    with pytest.raises(BadImage, match=r"truncated_half\.jpg"):
        next(batches)
    assert loader_threads() == []


def test_a_missing_image_is_named(scenes: Dataset) -> None:
    dataset = of(scenes.source.root, [("forest/gone.jpg", 0)])  # type: ignore[attr-defined]
    with pytest.raises(BadData, match=r"forest/gone\.jpg: it cannot be read"):
        list(Loader(dataset, PREPROCESS, LoadPlan(2)).epoch(1))


@dataclass
class Failing:
    error: Exception

    def read(self, locator: str) -> bytes:
        raise self.error

    def stamp(self, locator: str) -> str:
        return ""


def failing(error: Exception) -> Dataset:
    sample = Sample(id="k1", locator="k1", label=0, split="train")
    return Dataset(samples=(sample,), classes=ClassMap(("a",)), source=Failing(error))


def test_an_error_of_the_source_is_raised_with_the_name_of_the_image() -> None:
    with pytest.raises(BadData, match=r"k1: the archive is gone\. Mount it\."):
        list(
            Loader(failing(NotFound("x.zip", "the archive is gone", fix="Mount it.")), PREPROCESS, LoadPlan(2)).epoch(1)
        )


def test_an_unexpected_error_keeps_its_type_and_names_the_image() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(Loader(failing(ZeroDivisionError()), PREPROCESS, LoadPlan(2)).epoch(1))
    assert "k1" in caught.value.__notes__[0]


def test_closing_early_stops_the_threads_and_the_reading(scenes: Dataset) -> None:
    many = of(scenes.source.root, [(sample.id, 0) for sample in scenes.samples] * 40)  # type: ignore[attr-defined]
    batches = Loader(many, PREPROCESS, LoadPlan(4, workers=3)).epoch(1)
    next(batches)
    assert loader_threads()
    batches.close()
    assert loader_threads() == []
    assert len(reads(many)) <= 4 * 5


def test_prefetch_is_bounded(scenes: Dataset) -> None:
    many = of(scenes.source.root, [(sample.id, 0) for sample in scenes.samples] * 40)  # type: ignore[attr-defined]
    batches = Loader(many, PREPROCESS, LoadPlan(4, workers=2)).epoch(1)
    for batches_taken, _ in enumerate(islice(batches, 50), start=1):
        assert len(reads(many)) <= 4 * (batches_taken + 3)
    batches.close()


def test_large_images_are_reduced_before_they_are_cached(shared: Path) -> None:
    root = shared / "data/imagenet-sample/images"
    dataset = of(root, [(path.name, 0) for path in sorted(root.iterdir())[:6]])
    loader = Loader(dataset, PREPROCESS, LoadPlan(6, augment=PRESETS["light"], memory_bytes=1 << 30))
    list(loader.epoch(1))
    assert loader.memory.used_bytes < 6 * 54 * 54 * 3 * 3


def test_an_empty_dataset_is_refused(scenes: Dataset) -> None:
    with pytest.raises(EmptyInput, match="scenes"):
        Loader(of(Path(), []), PREPROCESS, LoadPlan(2))


def test_a_plan_is_checked() -> None:
    with pytest.raises(BadValue, match="batch_size 0"):
        LoadPlan(0)
    with pytest.raises(BadValue, match="workers -1"):
        LoadPlan(1, workers=-1)
    with pytest.raises(BadValue, match="rank 2"):
        LoadPlan(1, rank=2, world=2)
    with pytest.raises(BadChoice, match="Did you mean shuffled"):
        LoadPlan(1, order="shufled")  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 2**32 - 1), st.integers(0, 1000))
def test_a_balanced_order_is_even_for_any_labels(labels: list[int], seed: int, epoch: int) -> None:
    order = epoch_order(np.array(labels, dtype=np.int64), "balanced", seed=seed, epoch=epoch)
    assert len(order) == len(labels)
    counts = Counter(labels[i] for i in order)
    expected = len(labels) / len(set(labels))
    assert all(abs(counts[label] - expected) < 1 for label in set(labels))


@given(st.lists(st.integers(0, 8), max_size=40))
def test_occurrence_counts_what_came_before(order: list[int]) -> None:
    assert occurrence(np.array(order, dtype=np.int64)).tolist() == [order[:i].count(v) for i, v in enumerate(order)]


# --- LoadTimes


def digits_loader(digits: Path, **plan: object) -> Loader:
    """Return a loader of the validation split of the digits."""
    dataset = make_splits(open_listing(digits), path=str(digits), recipe=DataSection(), seed=0)
    return Loader(dataset.split("valid"), Preprocess(size=32, resize=36), LoadPlan(32, **plan))  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_part_is_counted(digits: Path, workers: int) -> None:
    loader = digits_loader(digits, workers=workers, augment=PRESETS["light"])
    images = sum(len(batch) for batch in loader.epoch(1))
    sums = loader.times.sums()
    assert sums["images"] == images
    assert sums["bytes"] > 100 * images
    assert all(sums[part] > 0 for part in ("read", "decode", "augment", "collate"))


def test_a_cached_image_is_not_decoded_again(digits: Path) -> None:
    loader = digits_loader(digits, memory_bytes=1 << 30)
    for _ in loader.epoch(1):
        pass
    first = loader.times.sums()
    for _ in loader.epoch(2):
        pass
    second = loader.times.sums()
    assert second["decode"] == first["decode"]
    assert second["images"] == 2 * first["images"]


def test_a_slow_decoder_shows_as_decoding(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(raw: bytes | Pixels, **more: object) -> Pixels:
        clock["now"] += 0.02
        return decode(raw, **more)  # type: ignore[arg-type]

    clock = {"now": 0.0}
    monkeypatch.setattr(loading, "decode", slow)
    monkeypatch.setattr("clearsight.data.loader.time.perf_counter", lambda: clock["now"])
    loader = digits_loader(digits, workers=0)
    images = sum(len(batch) for batch in loader.epoch(1))
    sums = loader.times.sums()
    assert sums["decode"] == pytest.approx(0.02 * images)
    assert sums["read"] == sums["collate"] == 0


def test_counts_from_several_threads() -> None:
    times = LoadTimes()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: times.add("images", 1), range(1000)))
    assert times.sums()["images"] == 1000


# --- PixelCache

IMAGE_BYTES = 10 * 10 * 3  # bytes of an image


def image(value: int = 0) -> Pixels:
    return np.full((10, 10, 3), value, dtype=np.uint8)


def fail() -> Pixels:
    raise AssertionError("the image is computed again")


def test_a_cached_image_is_computed_once() -> None:
    cache = PixelCache(IMAGE_BYTES)
    first = cache.get("a", lambda: image(7))
    assert cache.get("a", fail) is first
    assert (first == 7).all()


def test_the_budget_holds_and_the_first_images_stay() -> None:
    cache = PixelCache(2 * IMAGE_BYTES + 1)
    for name in "abc":
        cache.get(name, image)
    assert len(cache) == 2
    assert cache.used_bytes == 2 * IMAGE_BYTES
    cache.get("a", fail)
    cache.get("b", fail)
    assert (cache.get("c", lambda: image(9)) == 9).all()


def test_a_smaller_image_still_fits_behind_one_that_does_not() -> None:
    cache = PixelCache(IMAGE_BYTES)
    cache.get("large", lambda: np.zeros((20, 20, 3), dtype=np.uint8))
    cache.get("small", image)
    cache.get("small", fail)


def test_a_budget_of_zero_caches_nothing() -> None:
    cache = PixelCache(0)
    cache.get("a", image)
    assert len(cache) == 0


def test_a_cached_image_is_read_only_and_the_original_stays_writable() -> None:
    cache, original = PixelCache(IMAGE_BYTES), image()
    cached = cache.get("a", lambda: original)
    with pytest.raises(ValueError, match="read-only"):
        cached[0] = 1
    original[0] = 1


def test_threads_agree_on_one_image() -> None:
    cache = PixelCache(50 * IMAGE_BYTES)
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda i: int(cache.get(str(i % 50), lambda: image(i % 50))[0, 0, 0]), range(2000)))
    assert values == [i % 50 for i in range(2000)]
    assert (len(cache), cache.used_bytes) == (50, 50 * IMAGE_BYTES)


# --- images that change after the scan


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_changed_since_the_scan_is_noted(
    shared: Path, tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["good.jpg", "alpha.png"]
    for name in names:
        shutil.copy(shared / "data/bad-inputs" / name, tmp_path)
    samples = tuple(Sample(id=name, locator=name, label=0, split="train") for name in names)
    listed = Dataset(samples=samples, classes=ClassMap(("a",)), source=FileSource(tmp_path))
    data = drop_bad_images(listed, scan_images(listed), "fail")
    loader = Loader(data.split("train"), Preprocess(size=32, resize=32), LoadPlan(batch_size=2, workers=workers))
    list(loader.epoch(1))
    assert data.changed == set()
    shutil.copy(tmp_path / "alpha.png", tmp_path / "good.jpg")
    for epoch in (2, 3):
        list(loader.epoch(epoch))
    assert data.changed == {"good.jpg"}
    assert caplog.messages == ["note: the image good.jpg has changed since the images were checked."]
