"""clearsight data: a check of a dataset before training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from clearsight.cli.setting_flags import READING, with_recipe_flags
from clearsight.cli.shared import AsJson, command_app
from clearsight.workflow.display.terminal import Terminal
from clearsight.workflow.display.text import audit_lines

EPILOG = """Examples:
  clearsight data photos/
  clearsight data train-image.hdf5 --label-column target --limit 1000
  clearsight data photos.zip --html photos.html --json
  clearsight data photos/ --label-errors --html photos.html
"""


def data(
    path: Annotated[str, typer.Argument(help="folder, archive, table or HDF5 file", show_default=False)],
    html: Annotated[Path | None, typer.Option(help="write a page with thumbnails to this file")] = None,
    seed: Annotated[int, typer.Option(help="seed of splits and samples, if the data do not define them")] = 0,
    label_errors: Annotated[
        bool, typer.Option("--label-errors", help="check the labels by the features of a pretrained network")
    ] = False,
    as_json: AsJson = False,
    *,
    settings: dict[str, Any],
) -> int:
    """Check a dataset: counts, imbalance, sizes, unreadable images, duplicates, and leaks between splits."""
    from clearsight.workflow.audit import audit
    from clearsight.workflow.paths import Paths

    terminal = Terminal(as_json=as_json)
    with terminal.working():
        paths, progress = Paths.of(os.environ), terminal.progress
        audited = audit(path, paths=paths, progress=progress, seed=seed, label_errors=label_errors, **settings)
        if html is not None:
            audited.write_page(html)
            terminal.print(f"page     {html}")
    terminal.print_result(audited.to_json(), audit_lines(audited.to_json()))
    return 0


_SETTINGS = (*READING, "image_size", "value_range", "valid_fraction", "test_fraction", "model", "weights")
_ESSENTIAL = ("html", "label_errors", "format", "label_column", "limit", "ignore_class", "seed", "as_json")

app = command_app(with_recipe_flags(data, _SETTINGS), EPILOG, essential=_ESSENTIAL)
