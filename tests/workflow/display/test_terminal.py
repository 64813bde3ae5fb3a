"""JSON has stdout to itself, everything else goes elsewhere, and bars are drawn on terminals only."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from clearsight.cli import main
from clearsight.cli.messages import fail
from clearsight.core.finding import Finding, Verdict
from clearsight.workflow.display.terminal import Terminal
from clearsight.workflow.display.text import diagnosis_lines


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
        "t = Terminal(as_json=False); t.unit = 'images'\n"
        "with t.working():\n"
        "    t.progress('training', 1, 4); t.print('an [epoch] line'); t.progress('training', 2, 4)\n"
        "    t.progress('training', 3, 4); t._bar.refresh(); t.progress('training', 4, 4)\n"
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
    assert b"images/s" in output


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 4096)
    except OSError:  # Linux raises it when the other end of the terminal is closed
        return b""


# --- without a terminal


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


def test_a_long_activity_has_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str], clock: _Clock) -> None:
    terminal = Terminal(as_json=False, clock=clock)
    for second in range(26):
        clock.now = second
        terminal.progress("checking images", 100 * second, 2500)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        "checking images: 1,000 of 2,500, about 15.0 s left",
        "checking images: 2,000 of 2,500, about 5.0 s left",
    ]
    assert captured.out == "", "the result has stdout to itself"


def test_a_unit_adds_the_speed(capsys: pytest.CaptureFixture[str], clock: _Clock) -> None:
    terminal = Terminal(as_json=False, clock=clock)
    terminal.unit = "images"
    for second in (0, 10):
        clock.now = second
        terminal.progress("classifying", 500 + 100 * second, 2500)  # 500 were done before
    assert capsys.readouterr().err == "classifying: 1,500 of 2,500, 100 images/s, about 10.0 s left\n"


def test_a_short_activity_has_none(capsys: pytest.CaptureFixture[str], clock: _Clock) -> None:
    terminal = Terminal(as_json=False, clock=clock)
    for start in (0.0, 100.0):  # two activities of the same name, each of nine seconds
        for second in range(10):
            clock.now = start + second
            terminal.progress("predicting", second + 1, 10)
    assert capsys.readouterr().err == ""


def test_no_line_where_epochs_are_printed_more_often(capsys: pytest.CaptureFixture[str], clock: _Clock) -> None:
    terminal = Terminal(as_json=False, clock=clock)
    for second in range(40):
        clock.now = second
        terminal.progress("training", second, 1000)
        if second % 8 == 0:
            terminal.print(f"epoch {second}")
    assert capsys.readouterr().err == ""


def test_the_rest_of_a_resumed_training_is_estimated_from_its_own_steps(
    capsys: pytest.CaptureFixture[str], clock: _Clock
) -> None:
    terminal = Terminal(as_json=False, clock=clock)
    terminal.progress("training", 900, 1000)
    clock.now = 10.0
    terminal.progress("training", 950, 1000)
    assert capsys.readouterr().err == "training: 950 of 1,000, about 10.0 s left\n"


# --- a reader that has gone

_PRINTS = """
import sys
from pathlib import Path
from clearsight.workflow.display.terminal import Terminal
t = Terminal(as_json=False, outlives_reader={outlives})
sys.stdin.readline()  # the reader has gone by then
t.print('a', 'b')
open(sys.argv[1], 'w').write('went on')
"""


@pytest.mark.parametrize("outlives", [True, False])
def test_a_training_outlives_the_reader_of_its_output(tmp_path: Path, outlives: bool) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _PRINTS.format(outlives=outlives), str(tmp_path / "witness")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate("\n", timeout=60)
    assert (tmp_path / "witness").exists() == outlives
    assert ("BrokenPipeError" in errors) != outlives


def test_names_do_not_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b]0;owned\x07\u202ecat\nerror: no"
    Terminal(as_json=False).print(f"class {name}")
    assert capsys.readouterr().out == r"class \x1b]0;owned\x07\u202ecat\nerror: no" + "\n"
    Terminal(as_json=True).print_json({"class": name})
    written = capsys.readouterr().out
    assert json.loads(written) == {"class": name}
    assert not {"\x1b", "\x07", "\u202e"} & set(written)


def test_an_error_does_not_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail("\x1b[2Jdogs: no such\u202e folder\nerror: other", 2) == 2
    assert capsys.readouterr().err == r"error: \x1b[2Jdogs: no such\u202e folder\nerror: other" + "\n"
    assert main(["train", "\x1b[2Jnowhere"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_our_own_colours_stay_and_those_of_a_name_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    finding = Finding(rule="Confusion", verdict=Verdict.FOUND, subject="\x1b[8mcat")
    Terminal(as_json=False).print(*diagnosis_lines([finding], colour=True))
    written = capsys.readouterr().out
    assert "\x1b[33m" in written
    assert "\x1b[8m" not in written
    assert r"\x1b[8mcat" in written
