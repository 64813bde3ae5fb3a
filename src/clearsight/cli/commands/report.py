"""clearsight report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(help="run folder", show_default=False)]) -> int:
    """Write report.html of a run again: one self-contained page, readable offline."""
    from clearsight.core.run import Run
    from clearsight.workflow.report import rewrite_report

    print(rewrite_report(Run.open(run)))
    return 0


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog="Example:\n\n  clearsight report runs/first")(report)
