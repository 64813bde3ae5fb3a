"""JSON has stdout to itself, everything else goes elsewhere, and bars are drawn on terminals only."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from clearsight.workflow.display.terminal import Terminal


def test_json_has_stdout_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(as_json=True)
    with terminal.working():
        terminal.print("a plan")
        terminal.progress("training", 1, 2)
    terminal.print_json({"a": 1})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"a": 1}
    assert captured.err == "a plan\n"


def test_without_json_lines_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(as_json=False).print("a plan")
    assert capsys.readouterr().out == "a plan\n"


def test_nan_is_never_printed_as_json() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        Terminal(as_json=True).print_json({"loss": float("nan")})


def test_a_bar_is_drawn_on_a_terminal() -> None:
    code = (
        "from clearsight.workflow.display.terminal import Terminal\n"
        "t = Terminal(as_json=False)\n"
        "with t.working():\n"
        "    t.progress('training', 1, 4); t.print('an [epoch] line'); t.progress('training', 4, 4)\n"
    )
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=writer, stderr=writer, env={**os.environ, "TERM": "xterm"}
    )
    os.close(writer)
    output = b""
    while chunk := _read(reader):
        output += chunk
    os.close(reader)
    assert process.wait() == 0
    assert b"training" in output
    assert b"/4" in output
    assert b"an [epoch] line" in output


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 4096)
    except OSError:  # Linux raises it when the other end of the terminal is closed
        return b""
