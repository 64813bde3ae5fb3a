"""clearsight evaluate: scores of a model on labelled images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from clearsight.cli.setting_flags import READING, with_recipe_flags
from clearsight.cli.shared import AsJson, Device, Model, command_app
from clearsight.cli.terminal import Terminal

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


def evaluation_lines(result: dict[str, Any]) -> list[str]:
    """Return an evaluation for people. result: docs/json.md describes it."""
    low, high = result["accuracy_interval"]
    lines = [
        f"{result['n']:,} images of the {result['split']} split",
        f"accuracy {result['accuracy']:.4f}  (95 % interval {low:.3f} to {high:.3f})",
        f"top-5    {result['top5']:.4f}   macro F1 {result['macro_f1']:.4f}   ECE {result['ece']:.4f}"
        + (f"   ROC-AUC {result['roc_auc']:.4f}" if result["roc_auc"] is not None else ""),
        "",
    ]
    width = max([len(name) for name in result["per_class"]] + [5])
    lines.append(f"{'class':<{width}} precision  recall      f1  support")
    for name, row in result["per_class"].items():
        scores = f"{row['precision']:>9.3f}{row['recall']:>8.3f}{row['f1']:>8.3f}{row['support']:>9,}"
        lines.append(f"{name:<{width}} {scores}")
    if result["mistakes"]:
        lines += ["", "most confident mistakes"]
        for mistake in result["mistakes"][:5]:
            predicted = f"{mistake['predicted']} ({mistake['probability']:.2f})"
            lines.append(f"  {mistake['path']}: predicted {predicted}, true {mistake['true']}")
    return lines


app = command_app(with_recipe_flags(evaluate, READING), EPILOG)
