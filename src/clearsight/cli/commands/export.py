"""clearsight export: a model as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clearsight.cli.shared import command_app
from clearsight.core.format import size


def export(
    model: Annotated[Path, typer.Argument(help="run folder or bundle folder", show_default=False)],
    out: Annotated[Path, typer.Option(help="archive to write")] = Path("model.tar.gz"),
) -> int:
    """Pack a model into one .tar.gz: weights, ONNX, classes, preprocessing, entry points for containers."""
    from clearsight.workflow.export import export as pack

    path = pack(model, out)
    print(f"{path}  ({size(path.stat().st_size)})")
    return 0


app = command_app(export, "Example:\n  clearsight export runs/first --out model.tar.gz")
