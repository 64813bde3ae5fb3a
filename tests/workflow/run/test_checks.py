"""Checks before a run: the text of a flag is read as the setting declares it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadValue
from clearsight.workflow.run.checks import check_epochs
from tests.workflow.run_folders import write_run


def test_epochs_of_a_continued_run_may_be_text(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", epochs=4, done=3)
    texts: Any = ("3", "10")  # as after --epochs
    for text in texts:
        check_epochs(run, text)
    with pytest.raises(BadValue, match="the run has trained 3 epochs already"):
        check_epochs(run, 2)
