"""Every error of a command becomes one sentence and the right exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
import types
from collections.abc import Callable

import pytest
import typer

from clearsight.cli.messages import near_flags, run_command, with_default_values
from clearsight.core.errors import BadValue, DiskFull, Diverged


def command(body: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, str]]:
    """Return a table with one command that calls `body`."""
    app = typer.Typer(add_completion=False)
    app.command()(lambda: body())
    module = types.ModuleType("a_command")
    module.app = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_command", module)
    return {"do": ("a_command", "does something")}


def raising(error: BaseException) -> Callable[[], object]:
    def body() -> object:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (BadValue("lr 0", "must be above 0"), 2, "error: lr 0: must be above 0.\n"),
        (Diverged("training", "the loss became nan"), 1, "the loss became nan"),
        (DiskFull("a", "no space is left"), 1, "no space is left"),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs/locked"),
            2,
            "error: runs/locked: Permission denied.\n",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device"),
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("oops"), 1, "this is a bug in clearsight; please report it"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_one_sentence_and_an_exit_code(
    error: BaseException, code: int, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("do", [], command(raising(error), monkeypatch)) == code
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.out == ""
    assert ("Traceback" in captured.err) == isinstance(error, RuntimeError)


def test_the_exit_code_of_the_command_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_command("do", [], command(lambda: 3, monkeypatch)) == 3
    assert run_command("do", [], command(lambda: None, monkeypatch)) == 0


def test_a_typo_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    table = command(lambda: 0, monkeypatch)
    assert run_command("doo", [], table) == 2
    assert "Did you mean do?" in capsys.readouterr().err
    assert run_command("do", ["--nothing"], table) == 2
    assert "--nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "near"), [("--dry", []), ("--epoch", ["--epochs"]), ("--pateince", ["--patience"]), ("--lrr", ["--lr"])]
)
def test_flags_that_share_little_but_dashes_are_not_proposed(flag: str, near: list[str]) -> None:
    assert near_flags(flag, ["--lr", "--std", "--epochs", "--patience"]) == near


@pytest.mark.parametrize(
    ("words", "expanded"),
    [
        (["data", "--repair"], ["data", "--repair", "3"]),
        (["data", "--repair", "5"], ["data", "--repair", "5"]),
        (["--repair", "--lr", "1"], ["--repair", "3", "--lr", "1"]),
        (["--repair", "--", "make", "--repair", "all"], ["--repair", "3", "--", "make", "--repair", "all"]),
    ],
)
def test_repair_without_a_number_is_three_attempts(words: list[str], expanded: list[str]) -> None:
    assert with_default_values(words) == expanded


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_one_sentence_and_its_exit_code(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    assert run_command("do", [], command(lambda: os.kill(os.getpid(), number), monkeypatch)) == 128 + number
    assert capsys.readouterr().err.strip() == f"error: stopped by {number.name}"
    assert signal.getsignal(number) is before
