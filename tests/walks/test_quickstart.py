"""`clearsight quickstart` does the whole main job, can be repeated, and looks up no host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clearsight.cli import COMMANDS
from clearsight.core.events import RunStatus
from clearsight.core.run import Run
from tests.walks.commands import run
from tests.walks.test_no_network import Recording, recorder, recording

__all__ = ["recorder", "recording"]  # fixtures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the folder of a first quickstart, and what it printed."""
    out = tmp_path_factory.mktemp("quickstart") / "q"
    return out, run("quickstart", "--out", out).stdout


def test_the_whole_main_job(quickstart: tuple[Path, str]) -> None:
    out, printed = quickstart
    trained = Run.open(out / "runs" / "1")
    assert trained.status is RunStatus.COMPLETED
    assert trained.scores["test"]["accuracy"] >= 0.97
    assert "predicted 7" in printed
    assert (trained.path / "report.html").stat().st_size < 8 << 20
    assert set(re.findall(r"^  clearsight (\w+)", printed, flags=re.MULTILINE)) <= set(COMMANDS)


def test_a_second_one_has_the_same_scores_and_looks_up_no_host(
    quickstart: tuple[Path, str], recording: Recording
) -> None:
    out, _ = quickstart
    assert "runs/2" in recording.run("-m", "clearsight", "quickstart", "--out", out)
    assert Run.open(out / "runs" / "2").scores == Run.open(out / "runs" / "1").scores
    assert (recording.calls, recording.files_of_others) == ([], [])
