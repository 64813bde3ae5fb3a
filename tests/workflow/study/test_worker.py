"""Worker process: receives assignments, reports epochs, and lives exactly as long as its standard input."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.executor import Assignment, TrialTask
from clearsight.tuning.executors import protocol
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.reporter import WorkerResources
from clearsight.workflow.study.worker import PipeReporter

ASSIGNMENT = Assignment(
    key=5, tasks=(TrialTask(number=3, folder="/f", recipe={"lr": 0.5}),), data="/d", metrics=("loss",), prunable=True
)


@pytest.fixture
def pipe() -> Iterator[tuple[Any, int]]:
    """The read end of a worker's pipe as a file, and its write end."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as output:
        yield output, write_end
        os.close(write_end)


@pytest.fixture
def reporter(pipe: tuple[Any, int], monkeypatch: pytest.MonkeyPatch) -> PipeReporter:
    """A reporter that returns from `listen` where a worker would exit."""
    monkeypatch.setattr("clearsight.workflow.study.worker.os._exit", lambda code: None)
    return PipeReporter(io.BytesIO(), pipe[1])


def receive(reporter: PipeReporter, *messages: dict[str, Any]) -> None:
    reporter._messages = io.BytesIO(b"".join(protocol.encode(message) for message in messages))
    reporter.listen()


def test_an_assignment_is_queued(reporter: PipeReporter) -> None:
    receive(reporter, protocol.work(ASSIGNMENT))
    assert reporter.work.get_nowait() == ASSIGNMENT


def test_an_epoch_without_a_reply_does_not_wait(reporter: PipeReporter, pipe: tuple[Any, int]) -> None:
    assert reporter.report_epoch(3, 1, {"loss": 0.5}) == ""
    assert json.loads(pipe[0].readline()) == {"epoch": 1, "trial": 3, "scores": {"loss": 0.5}}


def test_an_epoch_waits_for_its_own_reply(reporter: PipeReporter) -> None:
    reporter.prunable = True
    receive(reporter, protocol.reply(4, 1, "another trial"), protocol.reply(3, 1, "worse than the others"))
    assert reporter.report_epoch(3, 1, {}) == "worse than the others"
    replies: list[str] = []
    waiting = threading.Thread(target=lambda: replies.append(reporter.report_epoch(3, 2, {})))
    waiting.start()
    receive(reporter, protocol.reply(3, 2, ""))
    waiting.join(30)
    assert replies == [""]


def test_an_interrupt_ends_the_waiting_until_the_next_assignment(reporter: PipeReporter) -> None:
    reporter.prunable = True
    assert reporter.interruption() == ""
    receive(reporter, protocol.interrupt())
    assert reporter.report_epoch(3, 1, {}) == ""
    assert reporter.interruption() == "the study was interrupted"
    receive(reporter, protocol.work(ASSIGNMENT))
    assert reporter.interruption() == ""


def test_a_long_message_arrives_whole(reporter: PipeReporter, pipe: tuple[Any, int]) -> None:
    """A pipe takes 64 KiB at a time."""
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(pipe[0].readline()))
    reader.start()
    reporter.send({"text": "x" * 300_000})
    reader.join(30)
    assert len(json.loads(lines[0])["text"]) == 300_000


def test_the_process_exits_with_its_standard_input(tmp_path: Path) -> None:
    """At any time: it may still be importing torch."""
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "clearsight.workflow.study.worker", str(write_end)]
    resources = WorkerResources(paths=Paths(cache=tmp_path, weights=())).to_json()
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[write_end]) as worker:
        os.close(write_end)
        assert worker.stdin is not None
        worker.stdin.write(protocol.encode(resources))
        worker.stdin.close()
        assert worker.wait(30) == 0
    os.close(read_end)


def test_the_process_reports_the_result_of_an_assignment(tmp_path: Path) -> None:
    """The trial here has no data, so that nothing is trained."""
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "clearsight.workflow.study.worker", str(write_end)]
    task = TrialTask(number=0, folder=str(tmp_path / "0000"), recipe={"model": "tiny", "weights": "none"})
    assignment = Assignment(key=1, tasks=(task,), data=str(tmp_path / "nowhere"), metrics=("accuracy",))
    resources = WorkerResources(paths=Paths(cache=tmp_path, weights=())).to_json()
    with (
        os.fdopen(read_end) as output,
        subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[write_end]) as worker,
    ):
        os.close(write_end)
        assert worker.stdin is not None
        for message in (resources, protocol.work(assignment)):
            worker.stdin.write(protocol.encode(message))
        worker.stdin.flush()
        started, done = json.loads(output.readline()), json.loads(output.readline())
        worker.stdin.close()
        assert worker.wait(30) == 0
    assert started == {"started": 1}
    (result,) = done["results"]
    assert (result["number"], result["state"]) == (0, "failed")
    assert "nowhere" in result["reason"]
    assert (tmp_path / "0000" / "outcome.json").is_file()
