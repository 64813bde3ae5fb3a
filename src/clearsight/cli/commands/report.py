"""clearsight report."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from clearsight.cli.shared import AsJson, Browser, Format, PageFormat
from clearsight.cli.terminal import Terminal

EPILOG = """Examples:

  clearsight report runs/first

  clearsight report runs/first --format pdf --out first.pdf

  clearsight report studies/photos-1
"""


def report(
    run: Annotated[Path, typer.Argument(help="run folder, or study folder", show_default=False)],
    page_format: Format = PageFormat.HTML,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="where the page goes \\[default: into the run folder]")
    ] = None,
    browser: Browser = None,
    as_json: AsJson = False,
) -> int:
    """Write the report of a run or a study again: one self-contained page, readable offline, and its numbers as
    report.json."""
    from clearsight.workflow.pdf import find_browser, print_pdf

    terminal = Terminal(as_json=as_json)
    if page_format is PageFormat.PDF:
        find_browser(browser)  # before the work, not after it
    written = page = _rewritten(run)
    if page_format is PageFormat.PDF:
        written = print_pdf(page, out or page.with_suffix(".pdf"), browser=browser)
    elif out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        written = Path(shutil.copyfile(page, out))
    numbers = page.with_suffix(".json")
    if as_json:
        terminal.result({"format": page_format.value, "page": str(written), "figures": str(numbers)})
    else:
        terminal.say(str(written))  # alone on standard output, for scripts
        print(f"numbers  {numbers}", file=sys.stderr)
    return 0


def _rewritten(folder: Path) -> Path:
    """The page of whatever is in the folder, written again."""
    from clearsight.core.run import Run
    from clearsight.core.study import Study

    if Study.is_one(folder):
        from clearsight.workflow.study.report import rewrite_study_report

        return rewrite_study_report(Study.open(folder))
    from clearsight.workflow.run.report import rewrite_report

    return rewrite_report(Run.open(folder))


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog=EPILOG)(report)
