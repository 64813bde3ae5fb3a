"""clearsight data: a check of a dataset before training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from clearsight.cli.setting_flags import READING, with_recipe_flags
from clearsight.cli.shared import AsJson, command_app
from clearsight.cli.terminal import Terminal

EPILOG = """Examples:
  clearsight data photos/
  clearsight data train-image.hdf5 --label-column target --limit 1000
  clearsight data photos.zip --html photos.html --json
"""

_MAX_CLASSES = 40  # rows of the table; the JSON has all classes
_MAX_CORRUPT = 10  # files with their reason


def data(
    path: Annotated[str, typer.Argument(help="folder, archive, table or HDF5 file", show_default=False)],
    html: Annotated[Path | None, typer.Option(help="write a page with thumbnails to this file")] = None,
    seed: Annotated[int, typer.Option(help="seed of splits and samples, if the data do not define them")] = 0,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> int:
    """Check a dataset: counts, imbalance, sizes, unreadable images, duplicates, and leaks between splits."""
    from clearsight.workflow.audit import audit
    from clearsight.workflow.paths import Paths

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        audited = audit(path, paths=Paths.of(os.environ), progress=terminal.progress, seed=seed, **settings)
        if html is not None:
            audited.write_page(html)
            terminal.print(f"page     {html}")
    terminal.print_result(audited.to_json(), audit_lines(audited.to_json()))
    return 0


def audit_lines(result: dict[str, Any]) -> list[str]:
    """Return an audit for people: the table of counts, then the problems. result: docs/json.md describes it."""
    classes, splits = result["classes"], result["splits"]
    width = max([len(name) for name in classes] + [5])
    head = f"{'class':<{width}}" + "".join(f"{split:>9}" for split in splits)
    rows = [f"{name:<{width}}" + "".join(f"{splits[split].get(name, 0):>9,}" for split in splits) for name in classes]
    if len(rows) > _MAX_CLASSES:
        rows = [*rows[:_MAX_CLASSES], f"... and {len(rows) - _MAX_CLASSES} more classes"]
    if any("" in counts for counts in splits.values()):  # images without a label
        rows.append(f"{'(none)':<{width}}" + "".join(f"{counts.get('', 0):>9,}" for counts in splits.values()))
    total = f"{'total':<{width}}" + "".join(f"{sum(counts.values()):>9,}" for counts in splits.values())
    lines = [head, *rows, total, ""]
    if result["imbalance"] is not None:
        lines.append(f"imbalance {result['imbalance']:.1f} : 1")
    kinds = ("corrupt", "duplicates", "near_duplicates", "leaks", "small", "rotated")
    lines += [f"{kind.replace('_', '-'):<16}{len(result[kind]):,}" for kind in kinds]
    lines += [f"  {image['path']}: {image['reason']}" for image in result["corrupt"][:_MAX_CORRUPT]]
    lines += [f"warning  {warning['text']}" for warning in result["warnings"]]
    return lines


app = command_app(with_recipe_flags(data, (*READING, "image_size", "valid_fraction", "test_fraction")), EPILOG)
