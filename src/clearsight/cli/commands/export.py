"""clearsight export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[Path, typer.Argument(help="run folder or bundle folder", show_default=False)],
    out: Annotated[Path, typer.Option(help="the archive to write")] = Path("model.tar.gz"),
) -> int:
    """Pack a model into one .tar.gz: weights, ONNX, classes, preprocessing, entry points for containers."""
    from clearsight.workflow.export import export as pack

    path = pack(model, out)
    print(f"{path}  ({path.stat().st_size / 2**20:.1f} MiB)")
    return 0


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog="Example:\n\n  clearsight export runs/first --out model.tar.gz")(export)
