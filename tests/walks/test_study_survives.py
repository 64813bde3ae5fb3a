"""A study survives what happens to processes: Ctrl-C, kill -9 of a worker, of the study, of everything at once.

Gone on with, it ends as if nobody had touched it: the same points, each tried once, the same values, the same best.
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
from tests.walks.commands import CLEARSIGHT, answer, complaint, run

TRIALS, EPOCHS = 6, 3
SETTINGS = (
    *("--model", "tiny", "--weights", "none", "--image-size", "16", "--limit", "120", "--epochs", str(EPOCHS)),
    *("--search", "random", "--prune", "none", "--seed", "3", "--checkpoint-every", "0.05"),
    *("--space", "lr=log(1e-4,1e-1)", "--space", "batch_size=[8,16,32]", "--dropout", "0.1", "--augment", "light"),
)
KILLS = ("worker", "worker", "study", "study", "study", "everything", "everything")  # a trial may lose two workers


class Study:
    """A study in a process of its own, heard by the JSON lines that it tells on standard error."""

    def __init__(self, *words: object) -> None:
        command = [*CLEARSIGHT, "tune", *map(str, words), "--json"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def events(self) -> Iterator[dict[str, Any]]:
        """What happens, until the process is gone. Every line is one event."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            yield json.loads(line)

    def workers(self) -> list[psutil.Process]:
        """The living workers: who has a log of its own for standard output."""
        found = []
        with suppress(psutil.NoSuchProcess):
            for one in psutil.Process(self.process.pid).children():
                with suppress(OSError):  # it may have ended since
                    if Path(f"/proc/{one.pid}/fd/1").readlink().name.startswith("worker-"):
                        found.append(one)
        return found

    def kill(self, what: str, chance: random.Random) -> bool:
        """SIGKILL to a worker, to the study's own process, or to all of them; False where there is no worker yet."""
        workers = self.workers()
        if what == "worker":
            if not workers:
                return False
            workers = [chance.choice(workers)]
        else:
            self.process.kill()
        for one in workers if what != "study" else ():
            with suppress(psutil.NoSuchProcess):
                one.kill()
        return True

    def ended(self) -> tuple[int, Any]:
        """Exit code and the JSON on standard output."""
        said, rest = self.process.communicate()
        assert not rest.strip()
        return self.process.returncode, json.loads(said) if said else None


@contextmanager
def going_on(*words: object) -> Iterator[Study]:
    """A study that is gone with the block, and its workers with it."""
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
    found: dict[str, Any] = answer("tune", digits, *SETTINGS, "--trials", TRIALS, "--parallel", 2, "--out", out)
    assert found["status"] == "completed"
    return found


def points(found: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {trial["number"]: trial["params"] for trial in found["trials"]}


def values(found: dict[str, Any]) -> dict[int, float]:
    return {trial["number"]: trial["value"] for trial in found["trials"]}


def sabotaged(out: Path, fresh: list[object], seed: int) -> tuple[dict[str, Any], list[str]]:
    """The study, killed again and again and gone on with each time; what it comes to, and what was killed when."""
    chance = random.Random(seed)
    kills = chance.sample(KILLS, len(KILLS))
    words, told = fresh, []
    while True:
        with going_on(*words) as study:
            wait = chance.randint(1, 3)
            killed = False  # what is still in the pipe then was said before
            for event in study.events():
                wait -= 1
                if killed or wait > 0 or not kills or not study.kill(kills[-1], chance):
                    continue
                killed = kills[-1] != "worker"
                told.append(f"{kills.pop()} at {event}")
                wait = chance.randint(1, 3)
            code, found = study.ended()
            if code == 0:
                return found, told
            assert code == -signal.SIGKILL, (code, told)
        words = ["--resume", out]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kill_9_again_and_again_and_nothing_is_lost(
    digits: Path, undisturbed: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    out = tmp_path / "study"
    fresh = [digits, *SETTINGS, "--trials", TRIALS, "--parallel", 2, "--out", out]
    found, told = sabotaged(out, fresh, seed)
    print("\n".join(told))
    assert len(told) == len(KILLS), "the study was over before all of it had happened"
    assert (found["status"], found["reason"]) == ("completed", "")
    assert [trial["number"] for trial in found["trials"]] == list(range(TRIALS))
    assert {trial["state"] for trial in found["trials"]} == {"complete"}
    assert {trial["epochs"] for trial in found["trials"]} == {EPOCHS}
    assert points(found) == points(undisturbed)
    assert values(found) == pytest.approx(values(undisturbed), abs=1e-6)
    for of in ("trial", "params", "value", "test"):
        assert found["best"][of] == pytest.approx(undisturbed["best"][of], abs=1e-6)
    for number in range(TRIALS):
        mine, theirs = (Run.open(Path(one) / "trials" / f"{number:04d}" / "run") for one in (out, undisturbed["study"]))
        assert losses(mine) == pytest.approx(losses(theirs), abs=1e-6), "every step once, in order"


def losses(run: Run) -> dict[tuple[int, str], float]:
    lines = [line for line in run.metrics() if line["name"] == "loss"]
    found = {(line["step"], line["mode"]): line["value"] for line in lines}
    assert len(found) == len(lines)
    return found


def test_ctrl_c_leaves_a_study_that_resume_completes(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    with going_on(digits, *SETTINGS, "--trials", 3, "--out", out) as study:
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
    assert states[-1] == "running", "trials are taken up in their order"
    assert complaint("tune", "--resume", out, "--trials", 0) == "--trials 0: it must be 1 or more."

    done = answer("tune", "--resume", out)
    assert done["status"] == "completed"
    assert [(trial["number"], trial["state"], trial["epochs"]) for trial in done["trials"]] == [
        (number, "complete", EPOCHS) for number in range(3)
    ]
    assert done["trials"][: len(states) - 1] == found["trials"][:-1]
    assert points(found).items() <= points(done).items()
    assert done["seconds"] > found["seconds"]
    assert "completed" in run("tune", "--resume", out).stdout  # once more, and there is nothing left to do
