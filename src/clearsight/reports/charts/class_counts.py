"""Images per class and split, for the page of a run and the page of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clearsight.core.format import count, several
from clearsight.reports.charts.learning import class_count_bars
from clearsight.reports.kit.section import Panel, Table, table

Counts = Mapping[str, Mapping[str, int]]  # split -> class name -> images; unlabelled images under ""

_CLASSES_DRAWN = 30


def counts_panel(counts: Counts, classes: Sequence[str]) -> Panel:
    """Return a chart of every class, or of the rarest where there are many, with a table of all of them."""
    totals = {name: sum(row.get(name, 0) for row in counts.values()) for name in classes}
    # The rarest, because a class with too few images is what a reader looks for.
    visible = sorted(classes, key=lambda name: totals[name])[:_CLASSES_DRAWN]
    note = f"Shown are the {len(visible)} rarest of {count(len(classes))} classes; the table has all."
    labelled = {split: row for split, row in counts.items() if any(row.get(name) for name in classes)}
    return Panel(
        key="counts",
        title="Images per class and split",
        description=f"Images of {several(len(visible), 'class')} in each split.",
        figure=class_count_bars(labelled, visible),
        table=counts_table(counts, classes),
        note=note if len(visible) < len(classes) else "",
        wide=True,
    )


def counts_table(counts: Counts, classes: Sequence[str]) -> Table:
    """Return a row per class with its images in each split and in total; unlabelled images last, if there are any."""
    names = [*classes, *([""] if any(row.get("") for row in counts.values()) else [])]
    numbers = [(name or "(no label)", [row.get(name, 0) for row in counts.values()]) for name in names]
    numbers.append(("all", [sum(row.values()) for row in counts.values()]))
    rows = [(name, *map(count, images), count(sum(images))) for name, images in numbers]
    return table("Images per class and split", ("class", *counts, "all"), "l" + "r" * (len(counts) + 1), rows)


def imbalance(counts: Counts, classes: Sequence[str]) -> float | None:
    """Return the ratio of the largest to the smallest class of the training split; None without images.

    Classes without images do not count.
    """
    train = counts.get("train", {})
    sizes = [train[name] for name in classes if train.get(name)]
    return max(sizes) / min(sizes) if sizes else None
