"""clearsight compare."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from clearsight.cli.shared import AsJson, Browser, Format, PageFormat, table
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
        Path | None, typer.Option(metavar="FILE", help="where the page goes \\[default: compare.html or compare.pdf]")
    ] = None,
    page_format: Format = PageFormat.HTML,
    browser: Browser = None,
    as_json: AsJson = False,
) -> int:
    """Set runs beside each other: what was set differently, what came of it, and whether the best is best by chance."""
    from clearsight.workflow.compare import compare as set_beside
    from clearsight.workflow.pdf import find_browser

    terminal = Terminal(as_json=as_json)
    if page_format is PageFormat.PDF:
        find_browser(browser)
    comparison = set_beside(runs)
    page = write(comparison, out or Path(f"compare.{page_format.value}"), page_format, browser)
    if as_json:
        terminal.result(comparison.to_json() | {"page": str(page)})
        return 0
    width = shutil.get_terminal_size().columns
    terminal.say(*comparison_lines(comparison, width), f"page     {page}")
    return 0


def write(comparison: Comparison, out: Path, page_format: PageFormat, browser: str | None) -> Path:
    """Write the page of a comparison in a format; returns where it is."""
    from clearsight.workflow.pdf import print_pdf

    if page_format is PageFormat.HTML:
        comparison.write_page(out)
        return out
    with TemporaryDirectory() as folder:
        page = Path(folder) / "compare.html"
        comparison.write_page(page)
        return print_pdf(page, out, browser=browser)


def comparison_lines(comparison: Comparison, width: int) -> list[str]:
    """A comparison for people: the table, as many runs at once as fit into `width` columns, then the verdict."""
    labels = [run.label for run in comparison.runs]
    lines: list[str] = []
    for first, last in _stretches(labels, comparison.rows(), width):
        cells = [(row[0], *row[1 + first : 1 + last]) for row in comparison.rows()]
        lines += [*table(("", *labels[first:last]), cells, right=tuple(range(1, last - first + 1))), ""]
    for run in comparison.runs:
        lines += [f"{one.severity.value:<8} {run.label}: {one.rule}: {one.cause}" for one in run.problems]
    warned = [f"warning  {warning}" for warning in comparison.standing.warnings]
    return [*lines, *warned, f"verdict  {' '.join(comparison.standing.sentences)}"]


def _stretches(labels: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[tuple[int, int]]:
    """Which runs stand in one table: (first, last + 1), at least one each."""
    columns = [max(len(cell) for cell in column) + 2 for column in zip(("", *labels), *rows, strict=True)]
    stretches, first, used = [], 0, columns[0]
    for place, column in enumerate(columns[1:]):
        if place > first and used + column > width:
            stretches.append((first, place))
            first, used = place, columns[0]
        used += column
    return [*stretches, (first, len(labels))]


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog=EPILOG)(compare)
