"""evaluate: scores of a bundle on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clearsight.core.bundle import open_bundle
from clearsight.core.recipe import DataSection, Recipe
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, open_for_model, quiet
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
    with open_bundle(Path(model)) as bundle:
        path = Path(data).expanduser().resolve()
        dataset = open_for_model(path, section, bundle.class_map, split, paths or Paths.of({}), progress)
        return measure(bundle, dataset, device=device, progress=progress, section=section)
