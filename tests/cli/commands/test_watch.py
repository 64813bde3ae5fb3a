"""Watching a run that another process trains: here the test itself plays that process, between two looks."""

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

from clearsight.cli.commands.watch import follow, told
from clearsight.cli.messages import run_command
from clearsight.cli.terminal import Terminal
from clearsight.core.events import RunStatus
from clearsight.core.metrics_log import MetricsLog
from clearsight.workflow.live.run import LiveRun
from tests.workflow.made_runs import STEPS, made_run, train

COMMANDS = {"watch": ("clearsight.cli.commands.watch", "look on while a run trains")}


def looked(path: Path) -> LiveRun:
    live = LiveRun(path)
    live.look()
    return live


def in_turn(*deeds: Callable[[], object]) -> Callable[[], None]:
    """What happens in each pause between two looks; one pause more is a mistake."""
    left: Iterator[Callable[[], object]] = iter(deeds)
    return lambda: (next(left)(), None)[1]


def test_a_plain_line_for_each_epoch_until_the_end(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)
    log = run.path / "log.txt"
    pause = in_turn(
        lambda: train(run, [2], steps=3, whole=False),
        lambda: log.write_text("2026-01-01T00:00:00+00:00 warning  DeadReLU, layer1: half of it is dead\n"),
        lambda: train(run, [2]),
        lambda: (train(run, [3]), run.finish(RunStatus.COMPLETED)),
    )
    lines = list(told(looked(run.path), pause))
    assert [line[:9] for line in lines] == ["epoch 1/3", "warning  ", "epoch 2/3", "epoch 3/3"]


def test_a_run_that_goes_back_says_so_and_tells_its_epochs_again(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=2, status=RunStatus.RUNNING)

    def back() -> None:
        MetricsLog(run.path / "metrics.jsonl", last_step=STEPS).close()

    lines = list(told(looked(run.path), in_turn(back, lambda: (train(run, [2]), run.finish(RunStatus.COMPLETED)))))
    assert [line.split("  ")[0] for line in lines] == [
        *("epoch 1/3", "epoch 2/3"),
        f"back to a checkpoint after step {STEPS}",
        "epoch 2/3",
    ]


def test_silence_is_said_once(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=0, status=RunStatus.RUNNING)
    old = time.time() - 1000
    for file in run.path.iterdir():
        os.utime(file, (old, old))
    lines = list(told(looked(run.path), in_turn(lambda: None, lambda: run.finish(RunStatus.INTERRUPTED))))
    assert len(lines) == 1
    assert lines[0].endswith("the process may be gone")


def test_the_end_is_told_as_the_training_itself_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made_run(tmp_path / "r", done=1)
    follow(Terminal(as_json=False), looked(run.path), pause=in_turn(), drawn=False)
    assert "completed after 12.5 s" in capsys.readouterr().out


def test_a_person_who_has_enough_leaves_the_run_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made_run(tmp_path / "r", done=1, status=RunStatus.RUNNING)

    def stop() -> None:
        raise KeyboardInterrupt

    follow(Terminal(as_json=False), looked(run.path), pause=in_turn(stop), drawn=False)
    assert capsys.readouterr().out.splitlines()[-1].startswith("no longer watching")
    assert json.loads((run.path / "run.json").read_text())["status"] == "running"


def test_once_is_a_screen_and_json_is_the_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made_run(tmp_path / "r", done=2, status=RunStatus.RUNNING)
    assert run_command("watch", [str(run.path), "--once"], COMMANDS) == 0
    assert "epoch 2/3  step 40/60" in capsys.readouterr().out
    assert run_command("watch", [str(run.path), "--json"], COMMANDS) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["step"], told["steps"], told["epochs"]) == ("running", 40, 60, 3)


def test_no_run_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("watch", [str(tmp_path)], COMMANDS) == 2
    assert "no run in this folder" in capsys.readouterr().err


def test_a_terminal_is_drawn_on_and_ctrl_c_ends_well(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", done=2, status=RunStatus.RUNNING)
    code = (
        "import sys; from clearsight.cli.messages import run_command; "
        f"sys.exit(run_command('watch', [{str(run.path)!r}, '--every', '0.1'], {COMMANDS!r}))"
    )
    own, theirs = pty.openpty()
    around = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs, env=around)
    os.close(theirs)
    seen, stopped = b"", False
    while chunk := _read(own):
        seen += chunk
        if not stopped and seen.count(b"step 40/60") >= 2:  # drawn, and drawn again
            process.send_signal(signal.SIGINT)
            stopped = True
    os.close(own)
    assert process.wait() == 0
    assert b"\x1b[?1049h" in seen, "a screen of its own"
    assert seen.rindex(b"\x1b[?1049l") < seen.index(b"no longer watching")


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 4096)
    except OSError:  # Linux says so when the other end of a terminal is gone
        return b""
