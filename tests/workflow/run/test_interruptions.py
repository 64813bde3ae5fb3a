"""A signal in any phase leaves a run that says so and can be resumed, and so does a lack of memory."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from pydoc import locate
from typing import Any

import pytest

from clearsight.cli import COMMANDS
from clearsight.cli.messages import run_command
from clearsight.core.events import RunStatus
from clearsight.core.run import Run
from clearsight.core.stop import StopKind

# The function that each phase begins with.
PHASES = {
    "features": "clearsight.workflow.run.execute.read_features",
    "training": "clearsight.training.loop.Training._take_step",
    "calibration": "clearsight.workflow.run.delivery._calibrate",
    "model": "clearsight.workflow.run.delivery.save_weights",
    "onnx": "clearsight.workflow.run.delivery.add_onnx",
    "evaluation": "clearsight.workflow.run.delivery.measure",
    "report": "clearsight.workflow.run.delivery.write_report",
}


@pytest.fixture(autouse=True)
def _default_handlers() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process, as at the start of any: nohup ignores one of them."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def train(data: Path, out: Path) -> int:
    settings = ["--model", "tiny", "--weights", "none", "--image-size", "16", "--limit", "60", "--epochs", "2"]
    return run_command("train", [str(data), *settings, "--threads", "1", "--out", str(out)], COMMANDS)


def before(action: Callable[[], object], function: Any) -> Any:
    """Return the function with an action before its first call."""
    calls: list[None] = []

    def first(*arguments: Any, **settings: Any) -> Any:
        calls.append(None)
        if len(calls) == 1:
            action()
        return function(*arguments, **settings)

    return first


def interpose(target: str, action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the action before the function with this path is called for the first time."""
    monkeypatch.setattr(target, before(action, locate(target)))


@pytest.mark.parametrize(
    ("phase", "number"),
    [*((phase, signal.SIGTERM) for phase in PHASES), ("training", signal.SIGHUP), ("evaluation", signal.SIGHUP)],
)
def test_a_signal_leaves_a_run_to_resume(
    phase: str, number: signal.Signals, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpose(PHASES[phase], lambda: os.kill(os.getpid(), number), monkeypatch)
    out = tmp_path / "run"
    assert train(digits, out) == 130
    stopped = Run.open(out)
    assert (stopped.status, stopped.reason) == (RunStatus.INTERRUPTED, f"stopped by {number.name}")
    assert stopped.stop_kind is StopKind.SIGNAL
    assert run_command("train", ["--resume", str(out)], COMMANDS) == 0
    assert Run.open(out).status is RunStatus.COMPLETED


def test_a_signal_before_the_run_leaves_no_folder(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interpose("clearsight.workflow.run.execute.scan_dataset", lambda: os.kill(os.getpid(), signal.SIGTERM), monkeypatch)
    assert train(digits, tmp_path / "run") == 128 + signal.SIGTERM
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr().err.strip() == "error: stopped by SIGTERM"


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 8388608 bytes."),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_a_lack_of_memory_is_one_sentence(
    error: Exception,
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interpose(PHASES["training"], lambda: fail(error), monkeypatch)
    out = tmp_path / "run"
    assert train(digits, out) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: memory: no more could be had")
    assert f"continue with: clearsight train --resume {out}" in line
    assert Run.open(out).status is RunStatus.INTERRUPTED
    assert run_command("train", ["--resume", str(out)], COMMANDS) == 0
