"""People and machines are both served: JSON alone on stdout, everything else elsewhere, bars on terminals only."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from clearsight.cli.terminal import Terminal


def test_json_has_stdout_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(as_json=True)
    with terminal.working():
        terminal.say("a plan")
        terminal.progress("training", 1, 2)
    terminal.result({"a": 1})
    said = capsys.readouterr()
    assert json.loads(said.out) == {"a": 1}
    assert said.err == "a plan\n"


def test_lines_are_for_stdout_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(as_json=False).say("a plan")
    assert capsys.readouterr().out == "a plan\n"


def test_not_a_number_never_leaves_as_json() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        Terminal(as_json=True).result({"loss": float("nan")})


def test_a_bar_is_drawn_on_a_terminal() -> None:
    code = (
        "from clearsight.cli.terminal import Terminal\n"
        "t = Terminal(as_json=False)\n"
        "with t.working():\n"
        "    t.progress('training', 1, 4); t.say('an [epoch] line'); t.progress('training', 4, 4)\n"
    )
    own, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    seen = b""
    while chunk := _read(own):
        seen += chunk
    os.close(own)
    assert process.wait() == 0
    assert b"training" in seen
    assert b"/4" in seen
    assert b"an [epoch] line" in seen


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 4096)
    except OSError:  # Linux says so when the other end of a terminal is gone
        return b""
