"""clearsight report: the page of a run or a study, written again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from clearsight.cli.shared import AsJson, Browser, Format, PageFormat, RunOrStudy, command_app
from clearsight.core.safe_text import printable_line
from clearsight.workflow.display.terminal import Terminal

EPILOG = """Examples:
  clearsight report runs/first
  clearsight report runs/first --format pdf --out first.pdf
  clearsight report studies/photos-1
"""


def report(
    run: RunOrStudy,
    page_format: Format = PageFormat.HTML,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="file of the page \\[default: in the run folder]")
    ] = None,
    browser: Browser = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="storage of a study, where it needs a password")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write the report of a run or a study again: one page that needs no network, and its numbers as report.json."""
    from clearsight.workflow.display.pdf import find_browser, print_pdf
    from clearsight.workflow.report import rewrite

    terminal = Terminal(as_json=as_json)
    if page_format is PageFormat.PDF:
        find_browser(browser)  # an error now, before the work
    written = page = rewrite(run, storage)
    if page_format is PageFormat.PDF:
        written = print_pdf(page, out or page.with_suffix(".pdf"), browser=browser)
    elif out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        written = Path(shutil.copyfile(page, out))
    numbers = page.with_suffix(".json")
    if as_json:
        terminal.print_json({"format": page_format.value, "page": str(written), "figures": str(numbers)})
    else:
        terminal.print(str(written))  # alone on stdout, for scripts
        print(printable_line(f"numbers  {numbers}"), file=sys.stderr)
    return 0


app = command_app(report, EPILOG)
