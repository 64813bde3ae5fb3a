"""clearsight compare: runs side by side, and which is best."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from clearsight.cli.shared import AsJson, Browser, Format, PageFormat, command_app, table
from clearsight.cli.terminal import Terminal

if TYPE_CHECKING:
    from clearsight.workflow.compare import Comparison

EPILOG = """Examples:
  clearsight compare runs/resnet50 runs/resnet101 runs/resnet152
  clearsight compare runs/first runs/second --out second-is-better.html --json
"""


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="2 to 12 run folders", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="file of the page \\[default: compare.html or compare.pdf]")
    ] = None,
    page_format: Format = PageFormat.HTML,
    browser: Browser = None,
    as_json: AsJson = False,
) -> int:
    """Compare runs: their different settings, their scores, and whether the best one is better than by chance."""
    from clearsight.workflow.compare import compare as compare_runs
    from clearsight.workflow.pdf import find_browser, print_pdf

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


def comparison_lines(comparison: Comparison, width: int) -> list[str]:
    """Return a comparison for people: tables of as many runs as fit into `width` columns, then the verdict."""
    labels = [run.label for run in comparison.runs]
    lines: list[str] = []
    for first, end in _table_ranges(labels, comparison.rows(), width):
        cells = [(row[0], *row[1 + first : 1 + end]) for row in comparison.rows()]
        lines += [*table(("", *labels[first:end]), cells, right=range(1, end - first + 1)), ""]
    for run in comparison.runs:
        lines += [
            f"{finding.severity.value:<8} {run.label}: {finding.rule}: {finding.cause}" for finding in run.problems
        ]
    warnings = [f"warning  {warning}" for warning in comparison.ranking.warnings]
    return [*lines, *warnings, f"verdict  {' '.join(comparison.ranking.sentences)}"]


def _table_ranges(labels: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[tuple[int, int]]:
    """Return the runs of each table as (first, end), at least one run each."""
    widths = [max(len(cell) for cell in column) + 2 for column in zip(("", *labels), *rows, strict=True)]
    ranges, first, used = [], 0, widths[0]
    for index, column_width in enumerate(widths[1:]):
        if index > first and used + column_width > width:
            ranges.append((first, index))
            first, used = index, widths[0]
        used += column_width
    return [*ranges, (first, len(labels))]


app = command_app(compare, EPILOG)
