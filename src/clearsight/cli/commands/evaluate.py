"""clearsight evaluate: scores of a model on labelled images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from clearsight.cli.setting_flags import READING, with_recipe_flags
from clearsight.cli.shared import AsJson, Device, Model, command_app
from clearsight.workflow.display.terminal import Terminal
from clearsight.workflow.display.text import evaluation_lines

EPILOG = """Examples:
  clearsight evaluate runs/first photos/
  clearsight evaluate model.tar.gz new-photos/ --out evaluation/ --json
  clearsight evaluate runs/first photos/ --split valid
"""


def evaluate(
    model: Model,
    data_path: Annotated[str, typer.Argument(metavar="DATA", help="labelled images", show_default=False)],
    split: Annotated[
        str | None, typer.Option(help="train, valid or test \\[default: test; all images of a folder without splits]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write predictions.csv and metrics.json to this folder")] = None,
    device: Device = "cpu",
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> int:
    """Measure a model: accuracy with its interval, top-5, macro F1, ROC-AUC, calibration, confusion, mistakes."""
    from clearsight.workflow.evaluate import evaluate as measure
    from clearsight.workflow.paths import Paths

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        paths = Paths.of(os.environ)
        evaluation = measure(
            model, data_path, split=split, device=device, paths=paths, progress=terminal.progress, **settings
        )
    if out is not None:
        evaluation.write(out)
        terminal.print(f"written  {out / 'predictions.csv'}, {out / 'metrics.json'}")
    terminal.print_result(evaluation.to_json(), evaluation_lines(evaluation.to_json()))
    return 0


_ESSENTIAL = ("split", "out", "device", "format", "label_column", "limit", "ignore_class", "as_json")

app = command_app(with_recipe_flags(evaluate, READING), EPILOG, essential=_ESSENTIAL)
