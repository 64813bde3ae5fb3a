"""A study survives Ctrl-C, and kill -9 of a worker, of the study, and of everything at once.

Continued, it ends like an undisturbed one: the same trials, each run once, the same values, the same best trial.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from clearsight.core.run import Run
from tests.walks.commands import CLEARSIGHT, error_of, json_of, run

TRIALS, EPOCHS = 6, 3
SETTINGS = (
    *("--model", "tiny", "--weights", "none", "--image-size", "16", "--limit", "120", "--epochs", str(EPOCHS)),
    *("--search", "random", "--prune", "none", "--seed", "3", "--checkpoint-every", "0.05"),
    *("--space", "lr=log(1e-4,1e-1)", "--space", "batch_size=[8,16,32]", "--dropout", "0.1", "--augment", "light"),
)
KILLS = ("worker", "worker", "study", "study", "study", "everything", "everything")  # a trial has three attempts


class Study:
    """A study in a process of its own; its events are JSON lines on standard error."""

    def __init__(self, *words: object) -> None:
        command = [*CLEARSIGHT, "tune", *map(str, words), "--json"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events, until the process is gone."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            yield json.loads(line)

    def workers(self) -> list[psutil.Process]:
        """The living workers: the child processes whose standard output is a worker's log."""
        workers = []
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children():
                with suppress(OSError):  # it may have exited
                    if Path(f"/proc/{child.pid}/fd/1").readlink().name.startswith("worker-"):
                        workers.append(child)
        return workers

    def kill(self, target: str, generator: random.Random) -> bool:
        """Kill a worker, the study's own process, or all of them; False if there is no worker yet."""
        workers = self.workers()
        if target == "worker":
            if not workers:
                return False
            workers = [generator.choice(workers)]
        else:
            self.process.kill()
        for worker in workers if target != "study" else ():
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        return True

    def ended(self) -> tuple[int, Any]:
        """Exit code and the JSON on standard output."""
        output, rest = self.process.communicate()
        assert not rest.strip()
        return self.process.returncode, json.loads(output) if output else None


@contextmanager
def running(*words: object) -> Iterator[Study]:
    """A study that is killed at the end of the block, with its workers."""
    study = Study(*words)
    try:
        yield study
    finally:
        if study.process.poll() is None:
            study.kill("everything", random.Random())
        study.process.communicate()


@pytest.fixture(scope="module")
def undisturbed(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("studies") / "undisturbed"
    found: dict[str, Any] = json_of("tune", digits, *SETTINGS, "--trials", TRIALS, "--parallel", 2, "--out", out)
    assert found["status"] == "completed"
    return found


def params(found: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {trial["number"]: trial["params"] for trial in found["trials"]}


def values(found: dict[str, Any]) -> dict[int, float]:
    return {trial["number"]: trial["value"] for trial in found["trials"]}


def sabotaged(out: Path, fresh: list[object], seed: int) -> tuple[dict[str, Any], list[str]]:
    """Kill the study again and again, and continue it each time; return its JSON at the end, and the kills."""
    generator = random.Random(seed)
    kills = generator.sample(KILLS, len(KILLS))
    words, log = fresh, []
    while True:
        with running(*words) as study:
            wait = generator.randint(1, 3)
            killed = False  # further events in the pipe are from before
            for event in study.events():
                wait -= 1
                if killed or wait > 0 or not kills or not study.kill(kills[-1], generator):
                    continue
                killed = kills[-1] != "worker"
                log.append(f"{kills.pop()} at {event}")
                wait = generator.randint(1, 3)
            code, found = study.ended()
            if code == 0:
                return found, log
            assert code == -signal.SIGKILL, (code, log)
        words = ["--resume", out]


@pytest.mark.slow
def test_kill_9_again_and_again_loses_nothing(digits: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "study"
    fresh = [digits, *SETTINGS, "--trials", TRIALS, "--parallel", 2, "--out", out]
    found, log = sabotaged(out, fresh, seed=0)
    print("\n".join(log))
    assert len(log) == len(KILLS), "the study ended before all kills"
    assert (found["status"], found["reason"]) == ("completed", "")
    assert [trial["number"] for trial in found["trials"]] == list(range(TRIALS))
    assert {trial["state"] for trial in found["trials"]} == {"complete"}
    assert {trial["epochs"] for trial in found["trials"]} == {EPOCHS}
    assert params(found) == params(undisturbed)
    assert values(found) == pytest.approx(values(undisturbed), abs=1e-6)
    for field in ("trial", "params", "value", "test"):
        assert found["best"][field] == pytest.approx(undisturbed["best"][field], abs=1e-6)
    for number in range(TRIALS):
        runs = [Run.open(Path(path) / "trials" / f"{number:04d}" / "run") for path in (out, undisturbed["study"])]
        assert losses(runs[0]) == pytest.approx(losses(runs[1]), abs=1e-6), "every step once, in order"


def losses(run: Run) -> dict[tuple[int, str], float]:
    lines = [line for line in run.metrics() if line["name"] == "loss"]
    found = {(line["step"], line["mode"]): line["value"] for line in lines}
    assert len(found) == len(lines)
    return found


def test_a_study_stopped_by_ctrl_c_is_completed_by_resume(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    with running(digits, *SETTINGS, "--trials", 3, "--out", out) as study:
        for event in study.events():
            if event["event"] == "epoch":
                study.process.send_signal(signal.SIGINT)
                break
        rest = list(study.events())
        code, found = study.ended()
    assert code == 130
    assert rest[-1] == {"event": "end", "status": "interrupted", "reason": "stopped by SIGINT"}
    assert (found["status"], found["best"]) == ("interrupted", None)
    states = [trial["state"] for trial in found["trials"]]
    assert states.count("running") == 1
    assert states[-1] == "running", "trials run in their order"
    assert error_of("tune", "--resume", out, "--trials", 0) == "--trials 0: must be a whole number, at least 1."

    done = json_of("tune", "--resume", out)
    assert done["status"] == "completed"
    assert [(trial["number"], trial["state"], trial["epochs"]) for trial in done["trials"]] == [
        (number, "complete", EPOCHS) for number in range(3)
    ]
    assert done["trials"][: len(states) - 1] == found["trials"][:-1]
    assert params(found).items() <= params(done).items()
    assert done["seconds"] > found["seconds"]
    assert "completed" in run("tune", "--resume", out).stdout  # nothing is left to do
