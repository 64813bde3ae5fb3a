"""A worker process: what it hears, what it says, and that it lives exactly as long as its standard input."""

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
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.reporter import WorkerResources
from clearsight.workflow.study.worker import PipeReporter

WORK = Assignment(
    key=5, tasks=(TrialTask(number=3, folder="/f", recipe={"lr": 0.5}),), data="/d", metrics=("loss",), told=True
)


@pytest.fixture
def pipe() -> Iterator[tuple[Any, int]]:
    """What a worker speaks into, and where it is heard."""
    ours, theirs = os.pipe()
    with os.fdopen(ours) as heard:
        yield heard, theirs
        os.close(theirs)


@pytest.fixture
def line(pipe: tuple[Any, int], monkeypatch: pytest.MonkeyPatch) -> PipeReporter:
    """A line that ends quietly, where a worker would end itself."""
    monkeypatch.setattr("clearsight.workflow.study.worker.os._exit", lambda code: None)
    return PipeReporter(io.BytesIO(), pipe[1])


def tell(line: PipeReporter, *messages: dict[str, Any]) -> None:
    line._told = io.BytesIO(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
    line.listen()


def test_work_is_put_into_the_queue(line: PipeReporter) -> None:
    tell(line, {"do": "work", "assignment": WORK.to_json()})
    assert line.work.get_nowait() == WORK


def test_an_epoch_is_told_and_nobody_waits_where_there_is_no_answer(line: PipeReporter, pipe: tuple[Any, int]) -> None:
    assert line.epoch(3, 1, {"loss": 0.5}) == ""
    assert json.loads(pipe[0].readline()) == {"epoch": 1, "trial": 3, "scores": {"loss": 0.5}}


def test_an_epoch_waits_for_its_own_answer(line: PipeReporter) -> None:
    line.answered = True
    tell(line, {"do": "answer", "trial": 4, "epoch": 1, "stop": "another"})
    tell(line, {"do": "answer", "trial": 3, "epoch": 1, "stop": "it is behind"})
    assert line.epoch(3, 1, {}) == "it is behind"
    answers: list[str] = []
    waiting = threading.Thread(target=lambda: answers.append(line.epoch(3, 2, {})))
    waiting.start()
    tell(line, {"do": "answer", "trial": 3, "epoch": 2, "stop": ""})
    waiting.join(30)
    assert answers == [""]


def test_an_interrupt_ends_the_waiting_until_there_is_new_work(line: PipeReporter) -> None:
    line.answered = True
    assert line.interrupted() == ""
    tell(line, {"do": "interrupt"})
    assert line.epoch(3, 1, {}) == ""
    assert line.interrupted() == "the study was interrupted"
    tell(line, {"do": "work", "assignment": WORK.to_json()})
    assert line.interrupted() == ""


def test_a_long_message_arrives_whole(line: PipeReporter, pipe: tuple[Any, int]) -> None:
    """A pipe takes 64 KiB at a time."""
    told: list[str] = []
    reader = threading.Thread(target=lambda: told.append(pipe[0].readline()))
    reader.start()
    line.say({"text": "x" * 300_000})
    reader.join(30)
    assert len(json.loads(told[0])["text"]) == 300_000


def test_it_ends_with_its_standard_input(tmp_path: Path) -> None:
    """However far it has come: it may still be importing torch."""
    ours, theirs = os.pipe()
    command = [sys.executable, "-m", "clearsight.workflow.study.worker", str(theirs)]
    hello = WorkerResources(places=Paths(cache=tmp_path, weights=())).to_json()
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[theirs]) as worker:
        os.close(theirs)
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(hello).encode() + b"\n")
        worker.stdin.close()
        assert worker.wait(30) == 0
    os.close(ours)


def test_a_worker_answers_an_assignment_with_its_outcome(tmp_path: Path) -> None:
    """Here a mistake, which costs no training."""
    ours, theirs = os.pipe()
    command = [sys.executable, "-m", "clearsight.workflow.study.worker", str(theirs)]
    task = TrialTask(number=0, folder=str(tmp_path / "0000"), recipe={"model": "tiny", "weights": "none"})
    work = Assignment(key=1, tasks=(task,), data=str(tmp_path / "nowhere"), metrics=("accuracy",))
    hello = WorkerResources(places=Paths(cache=tmp_path, weights=())).to_json()
    with (
        os.fdopen(ours) as heard,
        subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[theirs]) as worker,
    ):
        os.close(theirs)
        assert worker.stdin is not None
        for message in (hello, {"do": "work", "assignment": work.to_json()}):
            worker.stdin.write(json.dumps(message).encode() + b"\n")
        worker.stdin.flush()
        begun, done = json.loads(heard.readline()), json.loads(heard.readline())
        worker.stdin.close()
        assert worker.wait(30) == 0
    assert begun == {"begun": 1}
    (outcome,) = done["outcomes"]
    assert (outcome["number"], outcome["state"]) == (0, "failed")
    assert "nowhere" in outcome["reason"]
    assert (tmp_path / "0000" / "outcome.json").is_file()
