"""clearsight export: a model as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clearsight.cli.shared import Model, command_app
from clearsight.core.format import size
from clearsight.core.safe_text import printable_line

EPILOG = """Examples:
  clearsight export runs/first --out model.tar.gz
  clearsight export last --format onnx
"""


def export(
    model: Model,
    out: Annotated[Path | None, typer.Option(help="file to write \\[default: model.tar.gz, model.onnx ...]")] = None,
    format: Annotated[
        str, typer.Option(help="bundle, onnx or safetensors \\[default: by the name of the file, else bundle]")
    ] = "",
) -> int:
    """Write a model as one file: a bundle (.tar.gz with weights, ONNX, classes, preprocessing), or one file of it."""
    from clearsight.workflow.export import export as write

    path = write(model, out, format=format)
    print(printable_line(f"{path}  ({size(path.stat().st_size)})"))
    return 0


app = command_app(export, EPILOG)
