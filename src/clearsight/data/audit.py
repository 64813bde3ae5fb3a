"""Audit: description of a dataset before training on it, as one value and as plain JSON."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

from clearsight.core.dataset import Dataset, Notice
from clearsight.core.files import finite_json
from clearsight.data.duplicates import (
    MOST_PAIRS,
    Leak,
    conflicts,
    exact_duplicates,
    flipped_duplicates,
    leaks,
    near_duplicates,
)
from clearsight.data.scan import Scan, ScannedImage

# Lower edges in pixels, dense around usual inputs.
SIZE_BINS = (1, 32, 64, 96, 128, 160, 192, 224, 256, 384, 512, 768, 1024, 2048)
_COMMONEST = 5  # image sizes listed: a collection of photographs has hundreds
_SKEWED = 3.0  # ratio of the largest to the smallest class from which balancing pays
_FEW = 10  # images of a class under which its scores are mostly chance


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeBin:
    """Images whose shorter side is at least `low` and below `high` pixels; the last bin has no end."""

    low: int
    high: int | None
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CorruptImage:
    """An image that cannot be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """Description of a dataset; everything by sample id, in the dataset's order.

    splits: images per split and class name, bad ones included, unlabelled ones under "".
    imbalance: largest over smallest class of the training split (of all, without such a split); None without labels.
    short_sides: histogram of min(width, height) without empty bins.  common_sizes: (width, height, count).
    small: shorter side under `input_size`.  rotated: turned upright by their EXIF tag.
    duplicates: equal bytes.  near_duplicates: nearly equal pixels.  flipped: mirror images of each other.
    conflicts: those of any of these that differ in class.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Mapping[str, int]]
    imbalance: float | None
    input_size: int | None
    short_sides: tuple[SizeBin, ...]
    common_sizes: tuple[tuple[int, int, int], ...]
    formats: Mapping[str, int]
    small: tuple[str, ...]
    rotated: tuple[str, ...]
    corrupt: tuple[CorruptImage, ...]
    duplicates: tuple[tuple[str, ...], ...]
    near_duplicates: tuple[tuple[str, str], ...]
    flipped: tuple[tuple[str, str], ...]
    leaks: tuple[Leak, ...]
    conflicts: tuple[tuple[str, ...], ...]
    warnings: tuple[Notice, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, keys as the fields; warnings without their paths."""
        sizes = [{"width": width, "height": height, "count": count} for width, height, count in self.common_sizes]
        warnings = [{"code": notice.code, "text": notice.text} for notice in self.warnings]
        values: dict[str, Any] = finite_json({**asdict(self), "common_sizes": sizes, "warnings": warnings})
        return values


def audit(dataset: Dataset, scan: Scan, input_size: int | None = None) -> Audit:
    """Describe `dataset` as it was listed, with its bad images, by the results of `scan`.

    input_size: side of the model's input in pixels, to tell which images will be enlarged; None leaves that out.
    """
    found = scan.of(dataset)
    good = [image for image in found if not image.bad]  # a bad image may have no known size
    sizes = Counter((image.width, image.height) for image in good).most_common(_COMMONEST)
    groups, pairs = exact_duplicates(scan, dataset), near_duplicates(scan, dataset)
    flipped = flipped_duplicates(scan, dataset)
    splits = dataset.counts()
    counts = _training_counts(splits).values()
    audited = Audit(
        classes=dataset.classes.names,
        splits=splits,
        imbalance=max(counts) / min(counts) if counts else None,
        input_size=input_size,
        short_sides=_short_sides(good),
        common_sizes=tuple((width, height, count) for (width, height), count in sizes),
        formats=dict(Counter(image.format for image in good).most_common()),
        small=tuple(image.id for image in good if input_size and min(image.width, image.height) < input_size),
        rotated=tuple(image.id for image in good if image.orientation != 1),
        corrupt=tuple(CorruptImage(path=image.id, reason=image.bad) for image in found if image.bad),
        duplicates=tuple(groups),
        near_duplicates=tuple(pairs),
        flipped=tuple(flipped),
        leaks=tuple(leaks(dataset, groups, pairs, flipped)),
        conflicts=tuple(conflicts(dataset, [*groups, *pairs, *flipped])),
        warnings=dataset.notices,
    )
    # Making the splits may have reported an imbalance or bad images already: each problem is reported once.
    codes = {notice.code for notice in dataset.notices}
    new = (notice for notice in _warnings(audited) if notice.code not in codes)
    return replace(audited, warnings=(*dataset.notices, *new))


def _training_counts(splits: Mapping[str, Mapping[str, int]]) -> Counter[str]:
    """Return labelled images per class of the training split, or of all splits together when there is none."""
    total: Counter[str] = Counter()
    for counts in [splits["train"]] if "train" in splits else splits.values():
        total.update(counts)
    del total[""]  # unlabelled
    return total


def _short_sides(good: Sequence[ScannedImage]) -> tuple[SizeBin, ...]:
    # The short side decides what `crop` enlarges.
    bins = Counter(bisect_right(SIZE_BINS, min(image.width, image.height)) - 1 for image in good)
    ends = (*SIZE_BINS[1:], None)
    return tuple(SizeBin(low=SIZE_BINS[i], high=ends[i], count=bins[i]) for i in sorted(bins))


def _warnings(found: Audit) -> Iterator[Notice]:
    """Yield a notice for each problem, worst first."""
    if found.leaks:  # with them no score of the dataset can be trusted
        count = len(found.leaks)
        kinds = Counter(leak.splits for leak in found.leaks).most_common()
        where = ", ".join(f"{later} in {earlier}: {leaked}" for (earlier, later), leaked in kinds)
        text = f"{_images(count)} of a later split {_occur(count)} in an earlier one too ({where})"
        paths = tuple(path for leak in found.leaks for path in leak.paths)
        yield Notice(code="leak", text=f"{text}: scores on that split are too good.", paths=paths)
    if found.conflicts:
        text = f"{len(found.conflicts)} images have more than one class."
        yield Notice(code="label-conflict", text=text, paths=tuple(chain.from_iterable(found.conflicts)))
    if corrupt := found.corrupt:
        text = f"{_images(len(corrupt))} cannot be used; the first is {corrupt[0].path} ({corrupt[0].reason})."
        yield Notice(code="bad-image", text=text, paths=tuple(image.path for image in corrupt))
    if groups := found.duplicates:
        extra = sum(len(group) - 1 for group in groups)  # one of each group is no repetition
        text = f"{_images(extra)} {_occur(extra)} more than once."
        yield Notice(code="duplicates", text=text, paths=tuple(chain.from_iterable(groups)))
    if pairs := found.near_duplicates:
        least = "At least " if len(pairs) >= MOST_PAIRS else ""  # the search stopped there
        noun = "pair of images looks" if len(pairs) == 1 else "pairs of images look"
        text = f"{least}{len(pairs)} {noun} the same."
        yield Notice(code="near-duplicates", text=text, paths=tuple(chain.from_iterable(pairs)))
    if flipped := found.flipped:
        noun = "pair of images is" if len(flipped) == 1 else "pairs of images are"
        text = f"{len(flipped)} {noun} the same image with left and right exchanged."
        yield Notice(code="flipped-duplicates", text=text, paths=tuple(chain.from_iterable(flipped)))
    yield from _count_warnings(_training_counts(found.splits))
    if small := found.small:
        text = f"{_images(len(small))} {'is' if len(small) == 1 else 'are'} smaller than the model's input"
        yield Notice(code="small-images", text=f"{text} ({found.input_size} px) and will be enlarged.", paths=small)


def _count_warnings(counts: Mapping[str, int]) -> Iterator[Notice]:
    if not counts:
        return
    ordered = sorted(counts, key=counts.__getitem__)
    least, most = ordered[0], ordered[-1]
    if counts[most] >= _SKEWED * counts[least]:
        text = f'Class "{most}" has {counts[most]} images to train on, "{least}" has {counts[least]}'
        yield Notice(code="imbalance", text=f"{text}: consider --class-weights balanced.")
    if few := [name for name in ordered if counts[name] < _FEW]:
        noun = "class has" if len(few) == 1 else "classes have"
        text = f'{len(few)} {noun} fewer than {_FEW} images to train on, such as "{few[0]}" with {counts[few[0]]}.'
        yield Notice(code="few-images", text=text)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _occur(count: int) -> str:
    return "occurs" if count == 1 else "occur"
