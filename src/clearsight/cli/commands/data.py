"""clearsight data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from clearsight.cli.recipe_flags import READING, with_recipe_flags
from clearsight.cli.shared import AsJson
from clearsight.cli.terminal import Terminal

EPILOG = """Examples:

  clearsight data photos/

  clearsight data train-image.hdf5 --label-column target --limit 1000

  clearsight data photos.zip --html look.html --json
"""


def data(
    path: Annotated[str, typer.Argument(help="folder, archive, table or HDF5 file", show_default=False)],
    html: Annotated[Path | None, typer.Option(help="write a page with thumbnails to this file")] = None,
    seed: Annotated[int, typer.Option(help="decides splits and samples that the data do not fix")] = 0,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> int:
    """Look at a dataset: counts, imbalance, sizes, corrupt files, duplicates, near-duplicates, leaks between splits."""
    from clearsight.workflow.audit import audit
    from clearsight.workflow.paths import Paths

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        audited = audit(path, places=Paths.of(os.environ), progress=terminal.progress, seed=seed, **settings)
        if html is not None:
            audited.write_page(html)
            terminal.say(f"page     {html}")
    if as_json:
        terminal.result(audited.to_json())
    else:
        terminal.say(*audit_lines(audited.to_json()))
    return 0


def audit_lines(found: dict[str, Any]) -> list[str]:
    """An audit for people: the table of counts, then what is wrong."""
    classes, splits = found["classes"], found["splits"]
    width = max([len(name) for name in classes] + [5])
    head = f"{'class':<{width}}" + "".join(f"{split:>9}" for split in splits)
    rows = [f"{name:<{width}}" + "".join(f"{splits[split].get(name, 0):>9,}" for split in splits) for name in classes]
    if len(rows) > 40:
        rows = [*rows[:40], f"... and {len(rows) - 40} more classes"]
    if any("" in counts for counts in splits.values()):
        rows.append(f"{'(none)':<{width}}" + "".join(f"{counts.get('', 0):>9,}" for counts in splits.values()))
    total = f"{'total':<{width}}" + "".join(f"{sum(counts.values()):>9,}" for counts in splits.values())
    lines = [head, *rows, total, ""]
    if found["imbalance"] is not None:
        lines.append(f"imbalance {found['imbalance']:.1f} : 1")
    kinds = ("corrupt", "duplicates", "near_duplicates", "leaks", "small", "rotated")
    lines += [f"{kind.replace('_', '-'):<16}{len(found[kind]):,}" for kind in kinds]
    lines += [f"  {bad['path']}: {bad['reason']}" for bad in found["corrupt"][:10]]
    lines += [f"warning  {warning['text']}" for warning in found["warnings"]]
    return lines


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog=EPILOG)(with_recipe_flags(data, (*READING, "image_size", "valid_fraction", "test_fraction")))
