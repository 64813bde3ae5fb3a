"""Watching a run that another process trains; here the test plays that process, between two updates."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clearsight.cli.commands.watch import follow, new_lines
from clearsight.cli.messages import run_command
from clearsight.core.events import RunStatus
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.run import MetricsLog
from clearsight.workflow.display.terminal import Terminal
from clearsight.workflow.live import LiveRun
from tests.workflow.run_folders import STEPS, append_epochs, append_findings, write_run

COMMANDS = {"watch": ("clearsight.cli.commands.watch", "follow a run")}


def opened(path: Path) -> LiveRun:
    live = LiveRun(path)
    live.update()
    return live


def in_turn(*actions: Callable[[], object]) -> Callable[[], None]:
    """Return a pause that runs the next action each time; one pause too many is an error."""
    remaining: Iterator[Callable[[], object]] = iter(actions)
    return lambda: (next(remaining)(), None)[1]


def test_a_plain_line_for_each_epoch_until_the_end(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    dead = Finding(
        rule="DeadRelu", verdict=Verdict.FOUND, severity=Severity.WARNING, subject="layer1", cause="half of it is 0"
    )
    pause = in_turn(
        lambda: append_epochs(run, [2], steps=3, whole=False),
        lambda: append_findings(run, dead),
        lambda: append_epochs(run, [2]),
        lambda: (append_epochs(run, [3]), run.finish(RunStatus.COMPLETED)),
    )
    lines = list(new_lines(opened(run.path), pause))
    assert [line[:9] for line in lines] == ["epoch 1/3", "warning  ", "epoch 2/3", "epoch 3/3"]


def test_a_run_that_goes_back_to_a_checkpoint_prints_its_epochs_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=2, status=RunStatus.RUNNING)

    def back() -> None:
        MetricsLog(run.path / "metrics.jsonl", last_step=STEPS).close()

    def finish() -> None:
        append_epochs(run, [2])
        run.finish(RunStatus.COMPLETED)

    lines = list(new_lines(opened(run.path), in_turn(back, finish)))
    assert [line.split("  ")[0] for line in lines] == [
        *("epoch 1/3", "epoch 2/3"),
        f"back to the checkpoint after step {STEPS}",
        "epoch 2/3",
    ]


def test_silence_is_printed_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=0, status=RunStatus.RUNNING)
    old = time.time() - 1000
    for file in run.path.iterdir():
        os.utime(file, (old, old))
    lines = list(new_lines(opened(run.path), in_turn(lambda: None, lambda: run.finish(RunStatus.INTERRUPTED))))
    assert len(lines) == 1
    assert lines[0].endswith("the process may have died")


def test_the_end_has_the_lines_of_the_training_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "r", done=1)
    follow(Terminal(as_json=False), opened(run.path), pause=in_turn(), full_screen=False)
    assert "completed after 12.5 s" in capsys.readouterr().out


def test_ctrl_c_stops_watching_and_not_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)

    def stop() -> None:
        raise KeyboardInterrupt

    follow(Terminal(as_json=False), opened(run.path), pause=in_turn(stop), full_screen=False)
    assert capsys.readouterr().out.splitlines()[-1].startswith("no longer watching")
    assert json.loads((run.path / "run.json").read_text())["status"] == "running"


def test_once_is_a_screen_and_json_is_the_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "r", done=2, status=RunStatus.RUNNING)
    assert run_command("watch", [str(run.path), "--once"], COMMANDS) == 0
    assert "epoch 2/3  step 40/60" in capsys.readouterr().out
    assert run_command("watch", [str(run.path), "--json"], COMMANDS) == 0
    state = json.loads(capsys.readouterr().out)
    assert (state["status"], state["step"], state["steps"], state["epochs"]) == ("running", 40, 60, 3)


def test_a_folder_without_a_run_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("watch", [str(tmp_path)], COMMANDS) == 2
    assert "no run in this folder" in capsys.readouterr().err


def test_a_terminal_gets_a_full_screen_and_ctrl_c_leaves_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", done=2, status=RunStatus.RUNNING)
    code = (
        "import sys; from clearsight.cli.messages import run_command; "
        f"sys.exit(run_command('watch', [{str(run.path)!r}, '--every', '0.1'], {COMMANDS!r}))"
    )
    reader, writer = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=writer, stderr=writer, env=environment)
    os.close(writer)
    output, stopped = b"", False
    while chunk := _read(reader):
        output += chunk
        if not stopped and output.count(b"step 40/60") >= 2:  # drawn, and drawn again
            process.send_signal(signal.SIGINT)
            stopped = True
    os.close(reader)
    assert process.wait() == 0
    assert b"\x1b[?1049h" in output, "the alternate screen"
    assert output.rindex(b"\x1b[?1049l") < output.index(b"no longer watching")


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 4096)
    except OSError:  # Linux raises it when the other end of the terminal is closed
        return b""
