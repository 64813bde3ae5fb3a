"""clearsight predict: the classes of images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from clearsight.cli.setting_flags import READING, with_recipe_flags
from clearsight.cli.shared import AsJson, Device, Model, command_app
from clearsight.workflow.display.terminal import Terminal

EPILOG = """A dataset is anything that clearsight data reads, with or without labels; a folder with --split.

Examples:
  clearsight predict runs/first cat.jpg dog.png
  clearsight predict model.tar.gz holiday/ 'more/**/*.jpg' --top 3 --json
  clearsight predict runs/first test-image.hdf5 --csv predictions.csv
  clearsight predict endpoint:dogs cat.jpg
  clearsight predict runs/first photos/ --split predict --embeddings features.npz
"""


def predict(
    model: Model,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="images, folders, glob patterns, datasets", show_default=False),
    ],
    top: Annotated[int, typer.Option(help="classes listed per image", min=1)] = 5,
    split: Annotated[str | None, typer.Option(help="of a dataset: train, valid, test or predict")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="write a table, with a column per class")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="write predictions.csv and predictions.json to this folder")
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the features before the head, as .npz or .csv")
    ] = None,
    device: Device = "cpu",
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> int:
    """Classify images. An image that cannot be read is listed with the reason; exit code 2 if none can be read."""
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.predict import predict as classify
    from clearsight.workflow.results.predictions import check_embeddings_path, prediction_lines

    if embeddings is not None:
        check_embeddings_path(embeddings)  # an error now, before the work
    terminal = Terminal(as_json=as_json)
    with terminal.working():
        rows = classify(
            model,
            images,
            top=top,
            split=split,
            embeddings=embeddings is not None,
            device=device,
            progress=terminal.progress,
            paths=Paths.of(os.environ),
            **settings,
        )
    if csv is not None:
        rows.write_csv(csv)
    if out is not None:
        rows.write(out)
    if embeddings is not None:
        rows.write_embeddings(embeddings)
    terminal.print_result([row.to_json() for row in rows], prediction_lines(rows))
    written = [path for path in (csv, out, embeddings) if path is not None]
    if written and not as_json:
        terminal.print(f"written  {', '.join(map(str, written))}")
    return 2 if all(row.error for row in rows) else 0


_ESSENTIAL = ("top", "csv", "out", "embeddings", "split", "limit", "device", "as_json")

app = command_app(with_recipe_flags(predict, READING), EPILOG, essential=_ESSENTIAL)
