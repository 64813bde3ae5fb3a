"""The same image twice: duplicates, leaks between splits, and conflicts between classes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.dataset import ClassMap, Dataset, Sample, Split
from clearsight.core.errors import BadValue
from clearsight.data.duplicates import Leak, close_pairs, conflicts, exact_duplicates, hamming, leaks, near_duplicates
from clearsight.data.scan import Scan, ScannedImage

BASE = 0x0F0F_0F0F_0F0F_0F0F


class Nowhere:
    def read(self, locator: str) -> bytes:
        raise FileNotFoundError(locator)

    def stamp(self, locator: str) -> str:
        return ""


def case(*rows: tuple[str, Split, int | None, str, int]) -> tuple[Scan, Dataset]:
    """Return a scan and a dataset. Rows are (id, split, label, digest, perceptual hash)."""
    samples = tuple(Sample(id=name, locator=name, label=label, split=split) for name, split, label, _, _ in rows)
    found = tuple(ScannedImage(id=name, digest=digest, phash=phash) for name, _, _, digest, phash in rows)
    return Scan(found=found), Dataset(samples=samples, classes=ClassMap(("cat", "dog")), source=Nowhere())


def test_equal_bytes_form_a_group() -> None:
    scan, dataset = case(
        ("a", "train", 0, "x", 1), ("b", "train", 0, "y", 2), ("c", "test", 0, "x", 1), ("d", "test", 0, "x", 1)
    )
    assert exact_duplicates(scan, dataset) == [("a", "c", "d")]


def test_bad_images_are_no_duplicates() -> None:
    _, dataset = case(("a", "train", 0, "x", 0), ("b", "train", 0, "x", 0))
    scan = Scan(found=(ScannedImage(id="a", digest="x", bad="empty"), ScannedImage(id="b", digest="x", bad="empty")))
    assert exact_duplicates(scan, dataset) == []
    assert near_duplicates(scan, dataset) == []


def test_hashes_a_few_bits_apart_are_near_duplicates_closest_first() -> None:
    scan, dataset = case(
        ("a", "train", 0, "1", BASE),
        ("b", "train", 0, "2", BASE ^ 0b1111),
        ("c", "train", 0, "3", BASE ^ (1 << 63)),
        ("d", "train", 0, "4", BASE ^ (0b11111 << 20)),
    )
    assert near_duplicates(scan, dataset) == [("a", "c"), ("a", "b")]
    assert near_duplicates(scan, dataset, distance=0) == []
    assert ("a", "d") in near_duplicates(scan, dataset, distance=5)


def test_exact_duplicates_are_no_near_duplicates_and_are_compared_once() -> None:
    rows: list[tuple[str, Split, int | None, str, int]] = [
        (name, "train", 0, content, BASE) for name, content in zip("abcd", "1122", strict=True)
    ]
    scan, dataset = case(*rows)
    assert near_duplicates(scan, dataset) == [("a", "c")]


def test_flat_images_are_no_near_duplicates() -> None:
    scan, dataset = case(("a", "train", 0, "1", 0), ("b", "train", 0, "2", 0))
    assert near_duplicates(scan, dataset) == []


def test_an_empty_dataset_has_no_duplicates() -> None:
    scan, dataset = case()
    assert exact_duplicates(scan, dataset) == []
    assert near_duplicates(scan, dataset) == []


@pytest.mark.parametrize("distance", [-1, 11])
def test_the_distance_has_a_range(distance: int) -> None:
    scan, dataset = case()
    with pytest.raises(BadValue, match="between 0 and 10"):
        near_duplicates(scan, dataset, distance=distance)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_hamming_counts_bits(values: list[int]) -> None:
    hashes = np.array(values, dtype=np.uint64)
    assert hamming(hashes, hashes[::-1].copy()).tolist() == [
        (a ^ b).bit_count() for a, b in zip(values, values[::-1], strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10), st.integers(0, 80), st.integers(0, 2**32 - 1))
def test_the_index_finds_what_comparing_all_finds(distance: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**63, 5)
    hashes = [
        int(rng.choice(centres)) ^ sum(1 << int(bit) for bit in rng.choice(64, int(rng.integers(0, 8)), replace=False))
        for _ in range(count)
    ]
    expected = [
        (a, b) for a, b in itertools.combinations(range(count), 2) if (hashes[a] ^ hashes[b]).bit_count() <= distance
    ]
    assert [tuple(pair) for pair in close_pairs(np.array(hashes, dtype=np.uint64), distance, 10**6)] == expected


def test_pairs_are_found_among_a_hundred_thousand_images() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 100_000, dtype=np.uint64)
    hashes[-50:] = hashes[:50] ^ np.uint64(0b1011 << 30)
    pairs = close_pairs(hashes, 4, 10**6)
    assert pairs.tolist() == [[i, 99_950 + i] for i in range(50)]


def test_the_number_of_pairs_is_limited() -> None:
    hashes = np.full(20_000, BASE, dtype=np.uint64)
    pairs = close_pairs(hashes, 4, most=1000)
    assert pairs.shape == (1000, 2)
    assert (pairs[:, 0] < pairs[:, 1]).all()


def test_an_image_in_two_splits_is_a_leak_listed_once() -> None:
    scan, dataset = case(
        ("t1", "train", 0, "x", BASE),
        ("t2", "train", 0, "x", BASE),
        ("v", "valid", 0, "x", BASE),
        ("e", "test", 0, "y", BASE ^ 1),
        ("p", "predict", None, "x", BASE),
    )
    assert leaks(dataset, exact_duplicates(scan, dataset), near_duplicates(scan, dataset)) == [
        Leak(paths=("t1", "v"), splits=("train", "valid"), exact=True),
        Leak(paths=("t1", "e"), splits=("train", "test"), exact=False),
    ]


def test_the_earlier_split_comes_first_whatever_the_order() -> None:
    _, dataset = case(("e", "test", 0, "x", 1), ("t", "train", 0, "x", 1))
    (leak,) = leaks(dataset, [("e", "t")])
    assert (leak.paths, leak.splits) == (("t", "e"), ("train", "test"))


def test_duplicates_within_a_split_are_no_leak() -> None:
    _, dataset = case(("a", "train", 0, "x", 1), ("b", "train", 0, "x", 1), ("c", "predict", None, "x", 1))
    assert leaks(dataset, [("a", "b", "c")]) == []


def test_one_image_with_two_classes_is_a_conflict() -> None:
    _, dataset = case(("a", "train", 0, "x", 1), ("b", "train", 1, "x", 1), ("c", "train", 0, "x", 1))
    assert conflicts(dataset, [("a", "b"), ("a", "c")]) == [("a", "b")]


def test_no_label_is_no_conflict() -> None:
    _, dataset = case(("a", "train", 0, "x", 1), ("b", "predict", None, "x", 1))
    assert conflicts(dataset, [("a", "b")]) == []
