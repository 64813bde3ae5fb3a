"""clearsight evaluate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from clearsight.cli.recipe_flags import READING, with_recipe_flags
from clearsight.cli.shared import AsJson, Model
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
        str | None, typer.Option(help="train, valid or test \\[default: test, or all of a bare folder]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write predictions.csv and metrics.json into this folder")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> int:
    """Measure a model: accuracy with its interval, top-5, macro F1, ROC-AUC, calibration, confusion, worst mistakes."""
    from clearsight.workflow.evaluate import evaluate as measure
    from clearsight.workflow.paths import Paths

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        evaluation = measure(
            model,
            data_path,
            split=split,
            device=device,
            places=Paths.of(os.environ),
            progress=terminal.progress,
            **settings,
        )
    if out is not None:
        evaluation.write(out)
        terminal.say(f"written  {out / 'predictions.csv'}, {out / 'metrics.json'}")
    if as_json:
        terminal.result(evaluation.to_json())
    else:
        terminal.say(*evaluation_lines(evaluation.to_json()))
    return 0


def evaluation_lines(found: dict[str, Any]) -> list[str]:
    """An evaluation for people."""
    low, high = found["accuracy_interval"]
    lines = [
        f"{found['n']:,} images of the {found['split']} split",
        f"accuracy {found['accuracy']:.4f}  (95 % interval {low:.3f} to {high:.3f})",
        f"top-5    {found['top5']:.4f}   macro F1 {found['macro_f1']:.4f}   ECE {found['ece']:.4f}"
        + (f"   ROC-AUC {found['roc_auc']:.4f}" if found["roc_auc"] is not None else ""),
        "",
    ]
    width = max([len(name) for name in found["per_class"]] + [5])
    lines.append(f"{'class':<{width}} precision  recall      f1  support")
    for name, row in found["per_class"].items():
        figures = f"{row['precision']:>9.3f}{row['recall']:>8.3f}{row['f1']:>8.3f}{row['support']:>9,}"
        lines.append(f"{name:<{width}} {figures}")
    if found["mistakes"]:
        lines += ["", "most confident mistakes"]
        for one in found["mistakes"][:5]:
            lines.append(f"  {one['path']}: {one['predicted']} ({one['probability']:.2f}), is {one['true']}")
    return lines


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog=EPILOG)(with_recipe_flags(evaluate, READING))
