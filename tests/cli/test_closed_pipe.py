"""`clearsight ... | head` ends quietly: nobody reads what the command prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from clearsight.cli import CLOSED_PIPE
from clearsight.core.events import RunStatus
from clearsight.core.run import Run
from tests.workflow.run_folders import write_run


def closed(*words: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start `clearsight WORDS` with an output that nobody reads."""
    process = subprocess.Popen(
        [sys.executable, "-m", "clearsight", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )
    assert process.stdout is not None
    process.stdout.close()  # before the process has started Python
    process.stdout = None
    return process


def assert_quiet(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert "BrokenPipe" not in errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    assert process.returncode == CLOSED_PIPE, errors


def test_help_and_version() -> None:
    for words in ((), ("--help",), ("--version",)):
        assert_quiet(closed(*words))


def test_the_help_of_a_command() -> None:
    assert_quiet(closed("data", "--help"))


def test_commands_that_print_a_result(tmp_path: Path, digits: Path) -> None:
    first, second = (write_run(tmp_path / name).path for name in ("first", "second"))
    commands = [
        ("data", digits, "--limit", "40"),
        ("data", digits, "--limit", "40", "--json"),
        ("compare", first, second),
        ("report", first),
        ("watch", first, "--once"),
        ("watch", first),
        ("debug", first),
    ]
    for words in commands:
        assert_quiet(closed(*words, cwd=tmp_path))


def test_a_training_goes_on_to_its_end(tmp_path: Path, digits: Path) -> None:
    settings = ("--model", "tiny", "--weights", "none", "--limit", "60", "--epochs", "1", "--image-size", "16")
    process = closed("train", digits, *settings, "--out", tmp_path / "run")
    _, errors = process.communicate(timeout=200)
    assert (process.returncode, errors) == (0, "")
    assert Run.open(tmp_path / "run").status is RunStatus.COMPLETED
