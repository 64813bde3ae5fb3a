"""Duplicates: equal images, byte for byte or nearly, and those that differ in split or class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

from clearsight.core.dataset import Dataset, Split
from clearsight.core.errors import BadValue
from clearsight.data.scan import Scan, ScannedImage

Hashes: TypeAlias = npt.NDArray[np.uint64]
Pairs: TypeAlias = npt.NDArray[np.int64]  # (P, 2) row numbers, the smaller first

MOST_PAIRS = 100_000  # more than a person or a page can use
_BITS = 64  # of a perceptual hash
_FARTHEST = 10  # bits; unrelated hashes differ in 32 +- 4, and beyond 10 the buckets become too large
_LEARNING: tuple[Split, ...] = ("train", "valid", "test")  # an image in two of these raises the score of the later one


def exact_duplicates(scan: Scan, dataset: Dataset) -> list[tuple[str, ...]]:
    """Return ids of equal content, each group and the list in the dataset's order; bad images left out."""
    groups: dict[str, list[str]] = {}
    for found in scan.of(dataset):
        if not found.bad:
            groups.setdefault(found.digest, []).append(found.id)  # dicts keep the order of insertion
    return [tuple(group) for group in groups.values() if len(group) > 1]


def near_duplicates(scan: Scan, dataset: Dataset, distance: int = 4, most: int = MOST_PAIRS) -> list[tuple[str, str]]:
    """Return pairs of ids that look the same: perceptual hashes that differ in at most `distance` of 64 bits.

    Of exact duplicates only the first takes part; images too flat for a hash do not. Closest pairs first, then in
    the dataset's order; the search stops at `most` pairs, since a dataset of video frames has millions. Raises BadValue
    for a distance outside 0 to 10.
    """
    if not 0 <= distance <= _FARTHEST:
        raise BadValue(f"distance {distance}", f"it must be between 0 and {_FARTHEST} bits")
    distinct = _distinct(scan, dataset)
    hashes = np.array([found.phash for found in distinct], dtype=np.uint64)
    pairs = close_pairs(hashes, distance, most)
    distances = hamming(hashes[pairs[:, 0]], hashes[pairs[:, 1]])
    order = np.lexsort((pairs[:, 1], pairs[:, 0], distances))  # sorted by distance; the last key counts most
    return [(distinct[a].id, distinct[b].id) for a, b in pairs[order]]


def flipped_duplicates(scan: Scan, dataset: Dataset, distance: int = 6) -> list[tuple[str, str]]:
    """Return pairs of ids of which one is the other with left and right exchanged, found as by `near_duplicates`.

    Images that look the same unmirrored too, such as two copies of a symmetric one, are left out.
    """
    distinct = _distinct(scan, dataset)
    count = len(distinct)
    hashes = np.array([found.phash for found in distinct], dtype=np.uint64)
    mirrors = np.array([found.mirror for found in distinct], dtype=np.uint64)
    pairs = close_pairs(np.concatenate([hashes, mirrors]), distance, MOST_PAIRS)
    first, second = pairs[:, 0], pairs[:, 1] - count
    # Each pair comes twice, as (a, mirror of b) and (b, mirror of a); the hashes of both may differ by some bits.
    crossing = (first < count) & (second >= 0) & (first != second)
    ends = np.unique(np.sort(np.stack([first, second], axis=1)[crossing], axis=1), axis=0)
    apart = hamming(hashes[ends[:, 0]], hashes[ends[:, 1]]) > distance
    return [(distinct[a].id, distinct[b].id) for a, b in ends[apart]]


def _distinct(scan: Scan, dataset: Dataset) -> tuple[ScannedImage, ...]:
    """Return the images with a hash, the first of those of equal content."""
    first: dict[str, ScannedImage] = {}
    for found in scan.of(dataset):
        if found.phash and not found.bad:
            first.setdefault(found.digest, found)
    return tuple(first.values())


def close_pairs(hashes: Hashes, distance: int, most: int) -> Pairs:
    """Return pairs of rows of the (N,) `hashes` at most `distance` bits apart, each once; the search stops at `most`.

    Cut into distance + 1 pieces, two such hashes agree in at least one whole piece (pigeonhole), so only hashes that
    share a piece are compared: for 100,000 images some millions of pairs instead of five billion.
    Source: Norouzi et al. 2012, "Fast Search in Hamming Space with Multi-Index Hashing", section 2.
    """
    edges = np.linspace(0, _BITS, distance + 2).astype(int)
    keys = np.zeros(0, dtype=np.int64)  # a pair (a, b) as a * N + b, so that `unique` works on one array
    for low, high in pairwise(edges):
        piece = (hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        fresh, count = [keys], 0
        for a, b in _sharing(piece):
            close = hamming(hashes[a], hashes[b]) <= distance
            fresh.append(np.minimum(a, b)[close] * len(hashes) + np.maximum(a, b)[close])
            count += len(fresh[-1])
            if count >= most:
                break
        keys = np.unique(np.concatenate(fresh))
        if len(keys) >= most:
            break
    return np.stack(np.divmod(keys[:most], max(len(hashes), 1)), axis=1)


def _sharing(piece: Hashes) -> Iterable[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield every pair of rows with an equal `piece`, once, as parallel arrays: neighbours in sorted order first."""
    order = np.argsort(piece, kind="stable")
    ordered = piece[order]
    at, gap = np.arange(len(order)), 1
    while True:
        at = at[at + gap < len(order)]
        at = at[ordered[at] == ordered[at + gap]]  # a row without a partner at this gap has none at a wider one
        if not at.size:
            return
        yield order[at], order[at + gap]
        gap += 1


def hamming(a: Hashes, b: Hashes) -> npt.NDArray[np.int64]:
    """Return bits in which (N,) `a` and (N,) `b` differ, 0 to 64."""
    # np.bitwise_count does this, but only from numpy 2 on.
    bytes_ = np.ascontiguousarray(a ^ b).view(np.uint8).reshape(-1, 8)
    return cast(npt.NDArray[np.int64], np.unpackbits(bytes_, axis=1).sum(axis=1, dtype=np.int64))


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """One image in two splits; `paths` and `splits` run parallel, the earlier of train, valid, test first.

    flipped: the later one is the mirror image of the earlier one.
    """

    paths: tuple[str, str]
    splits: tuple[Split, Split]
    exact: bool
    flipped: bool = False


def leaks(
    dataset: Dataset,
    groups: Sequence[tuple[str, ...]],
    pairs: Sequence[tuple[str, str]] = (),
    flipped: Sequence[tuple[str, str]] = (),
) -> list[Leak]:
    """Return the `groups` (exact), `pairs` (near) and `flipped` pairs that span two of train, valid and test.

    A member of a group is listed once, with the group's first image in an earlier split.
    """
    split = {sample.id: sample.split for sample in dataset.samples if sample.split in _LEARNING}
    place = {key: _LEARNING.index(name) for key, name in split.items()}
    found: list[Leak] = []
    exact = ((group, True, False) for group in groups)
    near = ((pair, False, False) for pair in pairs)
    for members, same, mirrored in (*exact, *near, *((pair, False, True) for pair in flipped)):
        # Stable: the first image of the earliest split leads.
        inside = sorted((key for key in members if key in split), key=place.__getitem__)
        found += (
            Leak(paths=(inside[0], key), splits=(split[inside[0]], split[key]), exact=same, flipped=mirrored)
            for key in inside
            if place[key] > place[inside[0]]
        )
    return found


def conflicts(dataset: Dataset, groups: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the groups (or pairs) whose members are labelled with more than one class."""
    label = {sample.id: sample.label for sample in dataset.samples if sample.label is not None}
    return [group for group in groups if len({label[key] for key in group if key in label}) > 1]
