"""Audit: description of a dataset before training on it, as one value and as plain JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clearsight.core.dataset import Dataset, Notice, Split
from clearsight.data.duplicates import MOST_PAIRS, Leak, conflicts, exact_duplicates, leaks, near_duplicates
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
    duplicates: equal bytes.  near_duplicates: nearly equal pixels.  conflicts: those of either that differ in class.
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
    leaks: tuple[Leak, ...]
    conflicts: tuple[tuple[str, ...], ...]
    warnings: tuple[Notice, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, keys as the fields."""
        return {
            "classes": list(self.classes),
            "splits": {split: dict(counts) for split, counts in self.splits.items()},
            "imbalance": self.imbalance,
            "input_size": self.input_size,
            "short_sides": [asdict(each) for each in self.short_sides],
            "common_sizes": [{"width": w, "height": h, "count": n} for w, h, n in self.common_sizes],
            "formats": dict(self.formats),
            "small": list(self.small),
            "rotated": list(self.rotated),
            "corrupt": [asdict(each) for each in self.corrupt],
            "duplicates": [list(group) for group in self.duplicates],
            "near_duplicates": [list(pair) for pair in self.near_duplicates],
            "leaks": [
                {"paths": list(leak.paths), "splits": list(leak.splits), "exact": leak.exact} for leak in self.leaks
            ],
            "conflicts": [list(group) for group in self.conflicts],
            "warnings": [{"code": notice.code, "text": notice.text} for notice in self.warnings],
        }


def audit(dataset: Dataset, scan: Scan, input_size: int | None = None) -> Audit:
    """Describe `dataset` as it was listed, with its bad images, by the results of `scan`.

    input_size: side of the model's input in pixels, to tell which images will be enlarged; None leaves that out.
    """
    found = [scan.by_id[sample.id] for sample in dataset.samples]
    good = [each for each in found if not each.bad]  # a bad image may have no known size
    groups, pairs = exact_duplicates(scan, dataset), near_duplicates(scan, dataset)
    splits = dataset.counts()
    values: dict[str, Any] = {
        "classes": dataset.classes.names,
        "splits": splits,
        "imbalance": _imbalance(splits),
        "input_size": input_size,
        "small": tuple(each.id for each in good if input_size and min(each.width, each.height) < input_size),
        "corrupt": tuple(CorruptImage(path=each.id, reason=each.bad) for each in found if each.bad),
        "duplicates": tuple(groups),
        "near_duplicates": tuple(pairs),
        "leaks": tuple(leaks(dataset, groups, pairs)),
        "conflicts": tuple(conflicts(dataset, [*groups, *pairs])),
    }
    # Making the splits may have reported an imbalance or bad images already: each problem is reported once.
    codes = {notice.code for notice in dataset.notices}
    warnings = (*dataset.notices, *(notice for notice in _warnings(values) if notice.code not in codes))
    return Audit(
        **values,
        short_sides=_short_sides(good),
        common_sizes=_common_sizes(good),
        formats=dict(Counter(each.format for each in good).most_common()),
        rotated=tuple(each.id for each in good if each.orientation != 1),
        warnings=warnings,
    )


def _imbalance(splits: Mapping[str, Mapping[str, int]]) -> float | None:
    counts = _training_counts(splits)
    return max(counts.values()) / min(counts.values()) if counts else None


def _training_counts(splits: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return labelled images per class of the training split, or of all splits together when there is none."""
    total: Counter[str] = Counter()
    for counts in [splits["train"]] if "train" in splits else splits.values():
        total.update({name: count for name, count in counts.items() if name})  # "" is unlabelled
    return dict(total)


def _short_sides(good: Sequence[ScannedImage]) -> tuple[SizeBin, ...]:
    sides = [min(each.width, each.height) for each in good]  # the short side decides what `crop` enlarges
    edges: list[int | None] = [*SIZE_BINS, None]
    bins = (
        SizeBin(low=low, high=high, count=sum(side >= low and (high is None or side < high) for side in sides))
        for low, high in zip(SIZE_BINS, edges[1:], strict=True)
    )
    return tuple(each for each in bins if each.count)


def _common_sizes(good: Sequence[ScannedImage]) -> tuple[tuple[int, int, int], ...]:
    sizes = Counter((each.width, each.height) for each in good)
    return tuple((width, height, count) for (width, height), count in sizes.most_common(_COMMONEST))


def _warnings(values: Mapping[str, Any]) -> Iterator[Notice]:
    """Yield a notice for each problem, worst first."""
    # Leaks come first: with them no score of the dataset can be trusted.
    if leaks_found := values["leaks"]:
        paths = tuple(path for leak in leaks_found for path in leak.paths)
        text = (
            f"{_images(len(leaks_found))} of a later split {_occur(len(leaks_found))} in an earlier one too "
            f"({_splits(leaks_found)})"
        )
        yield Notice(code="leak", text=f"{text}: scores on that split are too good.", paths=paths)
    if conflicting := values["conflicts"]:
        paths = tuple(path for group in conflicting for path in group)
        yield Notice(code="label-conflict", text=f"{len(conflicting)} images have more than one class.", paths=paths)
    if corrupt := values["corrupt"]:
        text = f"{_images(len(corrupt))} cannot be used; the first is {corrupt[0].path} ({corrupt[0].reason})."
        yield Notice(code="bad-image", text=text, paths=tuple(each.path for each in corrupt))
    if groups := values["duplicates"]:
        extra = sum(len(group) - 1 for group in groups)  # one of each group is no repetition
        paths = tuple(path for group in groups for path in group)
        yield Notice(code="duplicates", text=f"{_images(extra)} {_occur(extra)} more than once.", paths=paths)
    if pairs := values["near_duplicates"]:
        count = f"At least {len(pairs)}" if len(pairs) >= MOST_PAIRS else f"{len(pairs)}"  # the search stopped there
        paths = tuple(path for pair in pairs for path in pair)
        noun = "pair of images looks" if len(pairs) == 1 else "pairs of images look"
        yield Notice(code="near-duplicates", text=f"{count} {noun} the same.", paths=paths)
    yield from _count_warnings(_training_counts(values["splits"]))
    if small := values["small"]:
        text = f"{_images(len(small))} {'is' if len(small) == 1 else 'are'} smaller than the model's input"
        yield Notice(code="small-images", text=f"{text} ({values['input_size']} px) and will be enlarged.", paths=small)


def _count_warnings(counts: Mapping[str, int]) -> Iterator[Notice]:
    if not counts:
        return
    ordered = sorted(counts, key=lambda name: counts[name])
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


def _splits(leaks_found: Sequence[Leak]) -> str:
    kinds: Counter[tuple[Split, Split]] = Counter(leak.splits for leak in leaks_found)
    return ", ".join(f"{later} in {earlier}: {count}" for (earlier, later), count in kinds.most_common())
