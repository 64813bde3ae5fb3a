"""evaluate: scores of a bundle on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearsight.core.bundle import open_bundle
from clearsight.core.recipe import DataSection, Recipe
from clearsight.data.readers import check_path, open_listing
from clearsight.data.scan import drop_bad_images
from clearsight.data.splits import evaluation_split, has_splits, make_evaluation_splits
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, quiet, read_options, scan_dataset
from clearsight.workflow.run.evaluation import Evaluation, measure


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    device: str = "cpu",
    paths: Paths | None = None,
    progress: Progress = quiet,
    **settings: Any,
) -> Evaluation:
    """Measure the run or bundle `model` on `data`: its test split or `split`, or all of a bare folder of classes.

    settings: fields of the recipe's data section (`format`, `label_column`, `limit`, `on_bad`, `ignore_class`, ...).
    """
    section = Recipe().replace(**settings).data if settings else DataSection()  # flat names, checked as in a recipe
    path = Path(data).expanduser().resolve()
    check_path(path, section.format)  # before the bundle, whose digests take a moment
    with open_bundle(Path(model)) as bundle:
        listing = open_listing(path, section.format, read_options(section))
        whole = make_evaluation_splits(listing, path=str(path), recipe=section, classes=bundle.class_map)
        chosen = evaluation_split(whole, split, has_splits(listing))
        scan = scan_dataset(chosen, section, paths or Paths.of({}), progress)
        dataset = drop_bad_images(chosen, scan, section.on_bad)
        return measure(bundle, dataset, device=device, progress=progress, section=section)
