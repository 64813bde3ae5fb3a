"""open_run: what was saved of a run, to be asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clearsight.debugger.trial import SavedRun


def open_run(path: str | Path, rank: int = 0) -> SavedRun:
    """The tensors, scalars and findings of the run folder `path`, which may still be growing.

    A folder that a Hook wrote in somebody's own loop opens too.  rank: whose tensors, where several processes saved.
    Raises NotFound where no run is in the folder.
    """
    from clearsight.debugger.trial import SavedRun

    return SavedRun(Path(path), rank)
