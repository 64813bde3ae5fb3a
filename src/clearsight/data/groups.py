"""Groups of images that belong together, of one patient or recording: divided whole, else reported."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from clearsight.core.dataset import SPLITS, Listing, Notice, Record, Split
from clearsight.core.errors import BadData, listed

_SHOWN = 3


def divide_groups(
    records: Sequence[Record], shares: Mapping[Split, float], seed: int, group_column: str
) -> list[Record]:
    """Assign labelled records without a split to the splits of `shares` and the rest to train, group by group.

    Large groups first, each to the split whose counts per class it brings closest to their shares. An image without a
    group is a group of its own. Raises BadData where there are fewer groups than splits.
    """
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    done = []
    for record in records:
        if record.label is None or record.split is not None:
            done.append(record)
        else:
            groups[("group", record.group) if record.group is not None else ("image", record.locator)].append(record)
    targets: dict[Split, float] = {"train": 1 - sum(shares.values()), **{s: f for s, f in shares.items() if f > 0}}
    if len(groups) < len(targets):
        problem = f"{len(groups)} groups cannot be divided into {', '.join(targets)}"
        raise BadData(f"--group-column {group_column}", problem, fix="Name the splits in the table, or add groups.")
    totals = Counter(record.label for group in groups.values() for record in group)
    counts: dict[Split, Counter[str | None]] = {split: Counter() for split in targets}
    # A digest breaks ties, so that the seed decides between groups of one size.
    ordered = sorted(groups, key=lambda key: (-len(groups[key]), _digest(seed, key)))
    for place, key in enumerate(ordered):
        labels = Counter(record.label for record in groups[key])
        empty = [split for split in targets if not counts[split]]
        # Each split gets a group, be it the last.
        splits = empty if len(empty) == len(ordered) - place else [*targets]
        errors = {split: _change(counts[split], labels, totals, targets[split]) for split in splits}
        split = min(splits, key=lambda name: errors[name])
        counts[split].update(labels)
        done.extend(replace(record, split=split) for record in groups[key])
    return done


def _change(
    count: Mapping[str | None, int], more: Mapping[str | None, int], totals: Mapping[str | None, int], share: float
) -> float:
    """Return by how much the squared error of a split's counts grows with the images of a group, all classes alike."""
    return sum(
        ((count.get(name, 0) + images - share * totals[name]) ** 2 - (count.get(name, 0) - share * totals[name]) ** 2)
        / totals[name] ** 2
        for name, images in more.items()
    )


def _digest(seed: int, key: tuple[str, str]) -> bytes:
    return hashlib.blake2b("\0".join((str(seed), *key)).encode(), digest_size=16).digest()


def group_notices(listing: Listing, group_column: str | None) -> Iterator[Notice]:
    """Yield a notice about groups that are in several splits.

    listing: with its splits made.  group_column: the setting; without it the notice suggests it.
    """
    splits: dict[str, set[Split]] = defaultdict(set)
    places: dict[str, list[str]] = defaultdict(list)
    for record in listing.records:
        if record.group is not None and record.split not in (None, "predict"):
            splits[record.group].add(record.split)
            places[record.group].append(record.locator)
    divided = sorted(group for group, found in splits.items() if len(found) > 1)
    if not divided:
        return
    names = ", ".join(split for split in SPLITS if any(split in splits[group] for group in divided))
    text = (
        f"{len(divided)} of {len(splits)} values of column {listing.group_column!r} are in several splits ({names}), "
        f"such as {listed(divided, _SHOWN)}: scores on the later split are too good"
    )
    advice = (
        "" if group_column else f"; --group-column {listing.group_column} divides by it where the data name no split"
    )
    paths = tuple(path for group in divided for path in places[group])
    yield Notice(code="group-leak", text=text + advice, paths=paths)
