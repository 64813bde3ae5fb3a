"""Splits of a dataset: from a listing to class map, splits, sample, and notices about problems.

Random choices follow from the seed and the names alone: images are ordered by a digest of seed, class and locator, so
neither the order on disk nor images of other classes change the split of an image.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from clearsight.core.dataset import SPLITS, ClassMap, Dataset, Listing, Notice, Record, Split, freeze
from clearsight.core.errors import BadChoice, BadData, BadValue, listed
from clearsight.core.recipe import DataSection
from clearsight.data.groups import divide_groups, group_notices
from clearsight.data.label_check import check_labels
from clearsight.data.labels import NAMED_FORMATS, case_notice, read_labels
from clearsight.data.readers.support.split_names import split_of

_IMBALANCE = 10  # largest class over smallest; the audit mentions smaller ones too (3)
_TINY = 5  # training images of a class
_VALID_SHARE, _FULL_SHARE_IMAGES = 0.15, 1000
_LEAST_VALID, _MOST_VALID_SHARE = 20, 0.25
_PARTS = 3  # of an absolute path: file, class and often the split; further parts say where the data lies
_SHOWN = 5  # classes named in a sentence; the notice carries all


def default_valid_fraction(images: int) -> float:
    """Return the share of so many labelled images that is held out for validation where nobody set one.

    15 %; of more than 1,000 images less, so that their number grows with the square root (10,000: 474), as a score of
    150 images has a standard error of at most 4 points. Of few images at least 20, but never more than a quarter.
    """
    share = _VALID_SHARE * min(1.0, math.sqrt(_FULL_SHARE_IMAGES / max(images, 1)))
    least = min(_LEAST_VALID / max(images, 1), _MOST_VALID_SHARE)
    return float(f"{max(share, least):.3g}")


def make_splits(
    listing: Listing, *, path: str, recipe: DataSection, seed: int, classes: ClassMap | None = None
) -> Dataset:
    """Return the dataset to train on. Missing splits are made from the labelled images, by class and `seed`.

    No split at all: train, valid and test by the recipe's fractions. Train without valid: a part of train becomes
    valid. Whatever else there is stays as it is; images without a label go to "predict".
    classes: the class map of a model that is to see this data; its classes are then the only ones allowed.
    Raises BadData for a class outside of the map and for data with fewer than two classes, BadChoice for a class to
    ignore that is not there.
    """
    listing = _prepared(listing, path, recipe, classes)
    if classes is None and recipe.label_check:
        check_labels(listing, path)  # first: of numbers to predict, many are in one split alone
    class_map = _class_map(listing, path, recipe, classes)
    if classes is None:
        _check_learnable(listing, path)
    divided = _with_splits(listing, recipe, seed)
    dataset = _finish(divided, path, recipe.limit, class_map).noting(*group_notices(divided, recipe.group_column))
    return dataset.noting(*case_notice(class_map), *_suspicious(dataset)) if classes is None else dataset


def check_trainable(dataset: Dataset) -> None:
    """Raise BadData for a dataset without labelled training images."""
    if any(sample.split == "train" for sample in dataset.samples):
        return
    remarks = [
        notice.text for notice in dataset.notices if notice.code in ("table-beside", "missing-label", "no-labels")
    ]
    fix = f"Note: {remarks[0]}." if remarks else "Add a train folder, or pass a table of paths and labels."
    raise BadData(dataset.path, "it has no labelled training images", fix=fix)


def make_evaluation_splits(listing: Listing, *, path: str, recipe: DataSection, classes: ClassMap | None) -> Dataset:
    """Return the dataset to evaluate on: splits stay as they are, and a labelled image without one is a test image.

    classes: the class map of the model; raises BadData for a class that it does not have.
    """
    listing = _prepared(listing, path, recipe, classes)
    class_map = _class_map(listing, path, recipe, classes)
    records = tuple(record if record.split else replace(record, split="test") for record in listing.records)
    return _finish(replace(listing, records=records), path, recipe.limit, class_map)


def has_splits(listing: Listing) -> bool:
    """Return True if the data itself says which labelled images belong to which split."""
    return any(record.split is not None for record in listing.records if record.label is not None)


def evaluation_split(dataset: Dataset, split: str | None, splits_in_data: bool) -> Dataset:
    """Return the labelled samples to evaluate on, of a dataset made by `make_evaluation_splits`.

    Data without splits is used whole. Of data with splits: `split`, else test, else the only labelled one.
    Raises BadChoice for a split that is not there, BadData when nothing is labelled.
    """
    labelled = dataset.only(lambda sample: sample.label is not None)
    present = [name for name in SPLITS if any(sample.split == name for sample in labelled.samples)]
    if not present:
        raise BadData(dataset.path or "data", "no image has a label, so there is nothing to compare with")
    if not splits_in_data and split in (None, "test"):
        return labelled
    if split is not None:
        chosen = split_of(split)  # "val" and "validation" are spellings of valid
        if chosen is None or chosen not in present:
            raise BadChoice(f"--split {split}", "the data has no such labelled split", got=split, allowed=present)
        return labelled.split(chosen)
    if "test" in present or len(present) == 1:
        return labelled.split("test" if "test" in present else present[0])
    raise BadChoice(dataset.path or "data", "it has no test split; choose one with --split", allowed=present)


def _prepared(listing: Listing, path: str, recipe: DataSection, classes: ClassMap | None) -> Listing:
    """Return the listing with labels as classes, without ignored classes, the unlabelled records in "predict"."""
    if not listing.records:
        raise BadData(path, "it holds no image")
    _check_columns(listing, recipe)
    listing = read_labels(listing, classes or (), words=recipe.label_check)
    records = [replace(r, label=_composed(r.label)) if r.label else r for r in listing.records]
    declared = tuple(map(_composed, listing.classes))
    known = {record.label for record in records if record.label is not None} | {*declared}
    ignored = {_composed(name) for name in recipe.ignore_class}
    for name in sorted(ignored - known):  # a misspelt name would silently ignore nothing
        raise BadChoice(f"--ignore-class {name}", "the data has no such class", got=name, allowed=sorted(known))
    records = [record for record in records if record.label not in ignored]
    if ignored and all(record.label is None for record in records):
        raise BadData(path, "every labelled image is of a class to ignore", fix="Ignore fewer classes.")
    notices = listing.notices
    lost = tuple(r.locator for r in records if r.label is None and r.split not in (None, "predict"))
    if lost:
        text = f"{len(lost)} images of train, valid or test have no label: they can be predicted, not learnt from"
        notices = (*notices, Notice(code="unlabelled", text=text, paths=lost))
    placed = tuple(replace(r, split="predict") if r.label is None else r for r in records)
    return replace(listing, records=placed, classes=declared, notices=notices)


def _check_columns(listing: Listing, recipe: DataSection) -> None:
    """Raise BadData for settings that name a column of data without columns: they would be ignored."""
    columns = {"label": recipe.label_column, "split": recipe.split_column, "group": recipe.group_column}
    for kind, column in columns.items():
        absent = listing.format in NAMED_FORMATS or (kind == "group" and not listing.group_column)
        if column is not None and absent:
            problem = f"data of the format {listing.format} have no such column"
            raise BadData(f"--{kind}-column {column}", problem, fix="Pass a table of paths and labels.")


def _composed(name: str) -> str:
    """Compose accents (Unicode NFC): some systems write them decomposed in folder names."""
    return unicodedata.normalize("NFC", name)


def _class_map(listing: Listing, path: str, recipe: DataSection, classes: ClassMap | None) -> ClassMap:
    """Return the map, with every label checked against it."""
    labelled = [(r.label, r.split) for r in listing.records if r.label is not None]
    if classes is not None:
        class_map, origin = classes, "of the model"
    elif listing.classes:
        ignored = {_composed(name) for name in recipe.ignore_class}
        class_map = ClassMap(tuple(name for name in listing.classes if name not in ignored))
        origin = "that the data declares"
    else:  # classes of train alone: a network cannot learn a class that only valid or test has
        train = [label for label, split in labelled if split in ("train", None)]
        class_map, origin = ClassMap.of(train or (label for label, _ in labelled)), "of the training split"
    known = set(class_map)
    unknown = sorted({(label, split or "") for label, split in labelled if label not in known})
    if not unknown:
        return class_map
    label, split = unknown[0]
    others = len({name for name, _ in unknown}) - 1
    more = f" (and {others} more classes)" if others else ""
    raise BadData(
        f"{path}/{split}" if split else path,
        f"class {label!r}{more} is not among the {len(class_map)} classes {origin}",
        got=label,
        allowed=class_map,
        fix=f"Rename it, or leave it out with --ignore-class {label!r}.",
    )


def _check_learnable(listing: Listing, path: str) -> None:
    """Raise BadData unless the labels have at least two classes; data without labels passes, to be audited."""
    counts = Counter(r.label for r in listing.records if r.label is not None and r.split in ("train", None))
    if len(counts) != 1:
        return
    tables = [notice.text for notice in listing.notices if notice.code == "table-beside"]
    read = [notice.text for notice in listing.notices if notice.code == "missing-label"]
    remark = next(iter((*tables, *read)), None)
    fix = f"Note: {remark}." if remark else "Add images of another class."
    [(label, count)] = counts.items()
    if count == 1:
        raise BadData(path, "it holds one labelled image to train on, that is not enough to learn from", fix=fix)
    raise BadData(path, f"all {count} training images are of class {label!r}, nothing to learn", fix=fix)


def _with_splits(listing: Listing, recipe: DataSection, seed: int) -> Listing:
    records, notices = listing.records, list(listing.notices)
    valid_fraction = _VALID_SHARE if recipe.valid_fraction is None else recipe.valid_fraction
    present = {record.split for record in records if record.label is not None and record.split is not None}
    if not present:
        if valid_fraction + recipe.test_fraction >= 1:
            sizes = f"{valid_fraction} + {recipe.test_fraction}"
            raise BadValue("valid_fraction + test_fraction", f"{sizes} leaves nothing to train on; must be below 1")
        shares: dict[Split, float] = {"valid": valid_fraction, "test": recipe.test_fraction}
        return replace(listing, records=tuple(_divide(records, shares, seed, recipe.group_column)))
    unassigned = tuple(record.locator for record in records if record.split is None)
    if unassigned:
        text = f"{len(unassigned)} images have no split while others do: they were taken for training"
        notices.append(Notice(code="split-missing", text=text, paths=unassigned))
    whole = [record if record.split else replace(record, split="train") for record in records]
    if "valid" not in present and (unassigned or "train" in present):
        train = [replace(record, split=None) for record in whole if record.split == "train"]
        rest = [record for record in whole if record.split != "train"]
        whole = [*rest, *_divide(train, {"valid": valid_fraction}, seed, recipe.group_column)]
        share = f"{100 * valid_fraction:.3g} %"
        notices.append(Notice(code="valid-from-train", text=f"no validation split: {share} of train is held out"))
    return replace(listing, records=tuple(whole), notices=tuple(notices))


def _divide(
    records: Sequence[Record], shares: Mapping[Split, float], seed: int, group_column: str | None
) -> list[Record]:
    """Assign labelled records without a split to the splits of `shares` and the rest to train, class by class.

    group_column: its groups stay whole; None divides image by image.
    """
    if group_column is not None:
        return divide_groups(records, shares, seed, group_column)
    groups: dict[str, list[Record]] = defaultdict(list)
    done = []
    for record in records:
        if record.label is None or record.split is not None:
            done.append(record)
        else:
            groups[record.label].append(record)
    # Class by class, so that a rare class is in every split.
    for label, group in sorted(groups.items()):
        left = _shuffled(group, seed, label)
        for split, share in shares.items():
            count = _portion(len(group), share, spare=len(left) - 1)
            done.extend(replace(record, split=split) for record in left[:count])
            left = left[count:]
        done.extend(replace(record, split="train") for record in left)
    return done


def _portion(size: int, share: float, spare: int) -> int:
    """Return how many of a class of `size` move: the rounded share, at least 1 of three images, never all."""
    least = 1 if share > 0 and size >= 3 else 0
    return max(0, min(max(math.floor(size * share + 0.5), least), spare))  # round() would round 0.5 and 2.5 down


def _shuffled(records: Iterable[Record], seed: int, label: str) -> list[Record]:
    # A digest instead of a random generator: adding an image does not move the others to other splits.
    def order(record: Record) -> tuple[bytes, str]:
        name = _movable(record.locator)
        return hashlib.blake2b(f"{seed}\0{label}\0{name}".encode(), digest_size=16).digest(), record.locator

    return sorted(records, key=order)


def _movable(locator: str) -> str:
    """Return what stays of a locator when the data is moved: of an absolute path the last parts."""
    path = PurePath(locator)
    return "/".join(path.parts[-_PARTS:]) if path.is_absolute() else locator


def _finish(listing: Listing, path: str, limit: int | None, classes: ClassMap) -> Dataset:
    """Return the listing as a dataset, or a sample of it, with a notice about each class that a split does not have."""
    records, notices = listing.records, listing.notices
    if limit is not None and limit < len(records):
        records = _sample(listing.records, limit)
        text = f"a sample of {len(records):,} of {len(listing.records):,} images is used, drawn by split and class"
        notices = (Notice(code="limited", text=text), *notices)
    samples = freeze(records, classes)
    dataset = Dataset(
        samples=samples, classes=classes, source=listing.source, path=path, format=listing.format, notices=notices
    )
    return dataset.noting(*_missing(dataset))


def _sample(records: Sequence[Record], limit: int) -> tuple[Record, ...]:
    """Return about `limit` records, each (split, class) in its share and at least once, whatever their order."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.split or "", record.label or ""].append(record)
    quotas = {key: limit * len(group) / len(records) for key, group in groups.items()}
    counts = {key: max(1, math.floor(quota)) for key, quota in quotas.items()}
    # Largest remainder first (Hamilton's method).
    most_short = sorted(quotas, key=lambda key: (counts[key] - quotas[key], key))
    for key in most_short[: max(0, limit - sum(counts.values()))]:
        counts[key] = min(counts[key] + 1, len(groups[key]))
    # Small classes get at least one image beyond their share; these are taken from the large ones.
    for key in sorted(quotas, key=lambda key: (-quotas[key], key)):
        counts[key] -= min(counts[key] - 1, max(0, sum(counts.values()) - limit), counts[key] // 10)
    # Seed 0, not the run's: runs with other seeds see the same sample and can be compared.
    return tuple(r for key, group in sorted(groups.items()) for r in _shuffled(group, 0, key[1])[: counts[key]])


def _missing(dataset: Dataset) -> Iterator[Notice]:
    """Yield classes that a labelled split does not have."""
    counts = dataset.counts()
    totals = sum((Counter(table) for split, table in counts.items() if split != "predict"), Counter())
    for split in SPLITS[:3]:
        if split in counts and (absent := dataset.absent(split)):
            missing = f"{len(absent)} of {len(dataset.classes)} classes: {listed(absent, _SHOWN)}"
            rare = next((name for name in absent if 0 < totals[name] < 3), None)
            noun = "image" if rare and totals[rare] == 1 else "images"
            cause = f'; class "{rare}" has {totals[rare]} {noun}, too few for every split' if rare else ""
            yield Notice(
                code="class-missing-in-split", text=f"split {split} has no image of {missing}{cause}", paths=absent
            )


def _suspicious(dataset: Dataset) -> Iterator[Notice]:
    """Yield a notice for each reason to doubt a training on this data."""
    counts = dataset.counts()
    train = counts.get("train", {})
    labelled = sum(sum(table.values()) for split, table in counts.items() if split != "predict")
    classes = len(dataset.classes)
    if labelled and 2 * classes >= labelled:
        few = "at most two images per class on average"
        doubt = "are these folders really classes?" if classes >= labelled else few
        yield Notice(code="more-classes-than-images", text=f"{classes} classes for {labelled} images: {doubt}")
    if train and max(train.values()) >= _IMBALANCE * min(train.values()):
        large, small = max(train, key=train.__getitem__), min(train, key=train.__getitem__)
        text = (
            f"train has {train[large]} images of {large} and {train[small]} of {small}: "
            "consider --class-weights balanced, and look at macro F1"
        )
        yield Notice(code="imbalance", text=text, paths=(large, small))
    tiny = tuple(name for name, count in train.items() if count < _TINY)
    if tiny:
        text = f"fewer than {_TINY} training images: {listed(tiny, _SHOWN)}"
        yield Notice(code="tiny-class", text=text, paths=tiny)
