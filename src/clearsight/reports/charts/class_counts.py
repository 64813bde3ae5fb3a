"""Images per class and split, as the run page and the data page both show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clearsight.reports.charts.learning import class_counts
from clearsight.reports.kit.format import count, several
from clearsight.reports.kit.section import Panel, Table, table

Counts = Mapping[str, Mapping[str, int]]  # split -> class name -> images; unlabelled images under ""

_CLASSES_DRAWN = 30


def counts_panel(counts: Counts, classes: Sequence[str]) -> Panel:
    """The chart of every class, or of the rarest where there are many, with the whole table behind it."""
    totals = {name: sum(row.get(name, 0) for row in counts.values()) for name in classes}
    drawn = sorted(classes, key=lambda name: totals[name])[:_CLASSES_DRAWN]
    note = f"Shown are the {len(drawn)} rarest of {count(len(classes))} classes; the table has them all."
    labelled = {split: row for split, row in counts.items() if any(row.get(name) for name in classes)}
    return Panel(
        key="counts",
        title="Images per class and split",
        says=f"Images of {several(len(drawn), 'class')} in each split.",
        figure=class_counts(labelled, drawn),
        table=counts_table(counts, classes),
        note=note if len(drawn) < len(classes) else "",
        wide=True,
    )


def counts_table(counts: Counts, classes: Sequence[str]) -> Table:
    """A row per class with its images in each split, and their sum; unlabelled images last where there are any."""
    splits = list(counts)
    bare = any(row.get("") for row in counts.values())
    rows = [
        (name or "(no label)", *(count(counts[split].get(name, 0)) for split in splits), _sum(counts, name))
        for name in (*classes, *([""] if bare else []))
    ]
    rows.append(("all", *(count(sum(counts[split].values())) for split in splits), _sum(counts, None)))
    return table("Images per class and split", ("class", *splits, "all"), "l" + "r" * (len(splits) + 1), rows)


def imbalance(counts: Counts, classes: Sequence[str]) -> float | None:
    """Largest over smallest class of the training split, of the classes that have images; None without any."""
    train = counts.get("train", {})
    held = [train[name] for name in classes if train.get(name)]
    return max(held) / min(held) if held else None


def _sum(counts: Counts, name: str | None) -> str:
    return count(sum(sum(row.values()) if name is None else row.get(name, 0) for row in counts.values()))
