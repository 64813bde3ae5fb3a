"""clearsight compare: runs side by side, and which is best."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from clearsight.cli.shared import AsJson, Browser, Format, PageFormat, Runs, command_app
from clearsight.workflow.display.terminal import Terminal

EPILOG = """Examples:
  clearsight compare runs/resnet50 runs/resnet101 runs/resnet152
  clearsight compare runs/first runs/second --out second-is-better.html --json
"""


def compare(
    runs: Runs,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="file of the page \\[default: compare.html or compare.pdf]")
    ] = None,
    page_format: Format = PageFormat.HTML,
    browser: Browser = None,
    as_json: AsJson = False,
) -> int:
    """Compare runs: their different settings, their scores, and whether the best one is better than by chance."""
    from clearsight.workflow.compare import compare as compare_runs
    from clearsight.workflow.compare import comparison_lines
    from clearsight.workflow.display.pdf import find_browser, print_pdf

    terminal = Terminal(as_json=as_json)
    if page_format is PageFormat.PDF:
        find_browser(browser)  # an error now, before the work
    comparison = compare_runs(runs)
    page = out or Path(f"compare.{page_format.value}")
    if page_format is PageFormat.HTML:
        comparison.write_page(page)
    else:
        with TemporaryDirectory() as folder:
            html = Path(folder) / "compare.html"
            comparison.write_page(html)
            print_pdf(html, page, browser=browser)
    lines = comparison_lines(comparison, shutil.get_terminal_size().columns)
    terminal.print_result(comparison.to_json() | {"page": str(page)}, [*lines, f"page     {page}"])
    return 0


app = command_app(compare, EPILOG)
