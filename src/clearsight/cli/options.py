"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="print the result as JSON, everything else to stderr")]
Model: TypeAlias = Annotated[
    Path, typer.Argument(help="run folder, bundle folder or packed bundle", show_default=False)
]
