"""metrics.jsonl of a resumed run has the lines of an undisturbed one, except for times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.events import NullObserver, StepRecord
from clearsight.core.run import Run
from clearsight.core.stop import StopKind, StopReason
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.train import resume, train

SETTINGS: dict[str, Any] = {
    "model": "tiny",
    "weights": "none",
    "image_size": 16,
    "limit": 160,
    "epochs": 3,
    "batch_size": 8,
    "threads": 1,
    "augment": "light",
    "head": (32,),
    "dropout": 0.2,
    "head_epochs": 1,
    "seed": 3,
}
TIMES = ("seconds", "images_per_second", "data_share")


class AtStep(NullObserver):
    """Observer that acts at one step."""

    def __init__(self, step: int, act: Callable[[], None]) -> None:
        self._step, self._act = step, act

    def on_step(self, record: StepRecord) -> None:
        if record.step == self._step:
            self._act()


def lines(run: Run) -> list[dict[str, Any]]:
    return [line for line in run.metrics() if not line["name"].endswith(TIMES)]


def launched(folder: Path, *observers: NullObserver, **more: Any) -> LaunchContext:
    return LaunchContext(paths=Paths(cache=folder / "cache", weights=()), observers=observers, **more)


@pytest.fixture(scope="module")
def undisturbed(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return lines(train(digits, out=folder / "run", launch=launched(folder), **SETTINGS))


@pytest.mark.parametrize("step", [1, 17, 24, 34])
def test_after_a_stop_within_an_epoch(
    digits: Path, tmp_path: Path, undisturbed: list[dict[str, Any]], step: int
) -> None:
    asked: list[StopReason] = []
    stop = AtStep(step, lambda: asked.append(StopReason(StopKind.SIGNAL, "stopped")))
    launch = launched(tmp_path, stop, halt=lambda: asked[0] if asked else None)
    stopped = train(digits, out=tmp_path / "run", launch=launch, **SETTINGS)
    assert [line["step"] for line in lines(stopped)][-1] == step
    assert lines(resume(stopped.path, launch=launched(tmp_path))) == undisturbed


def test_after_a_kill_some_steps_behind_a_checkpoint(
    digits: Path, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    def kill() -> None:
        # Half a line, as a kill leaves it; nothing is saved on the way out.
        with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
            file.write('{"step": 29, "epo')
        raise KeyboardInterrupt

    launch = launched(tmp_path, AtStep(29, kill))
    train(digits, out=tmp_path / "run", launch=launch, checkpoint_every=0.02, **SETTINGS)
    assert lines(resume(tmp_path / "run", launch=launched(tmp_path))) == undisturbed
