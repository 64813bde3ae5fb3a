"""A step after the training that fails costs neither the training nor the other steps, and can be repeated."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadBundle, DiskFull
from clearsight.core.events import FailedStep, NullObserver, RunStatus
from clearsight.core.files import read_json
from clearsight.core.finding import read_findings
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.stop import StopKind
from clearsight.workflow.messages import LogWriter, end_lines
from clearsight.workflow.paths import Paths
from clearsight.workflow.run import delivery, execute
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.final_steps import FinalSteps
from clearsight.workflow.train import resume, train

PLACES = {  # function that each step calls
    "verdicts": (execute, "write_verdicts"),
    "calibration": (delivery, "_calibrate"),
    "model": (delivery, "save_weights"),
    "onnx": (delivery, "add_onnx"),
    "evaluation": (delivery, "_measure"),
    "report": (delivery, "write_report"),
}


class FailedSteps(NullObserver):
    """Observer that records the failed steps."""

    def __init__(self) -> None:
        self.steps: list[FailedStep] = []

    def on_failed_step(self, failed: FailedStep) -> None:
        self.steps.append(failed)


def raising(error: BaseException) -> Callable[..., Any]:
    def action(*_: object) -> None:
        raise error

    return action


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("final")
    launch = LaunchContext(paths=Paths(cache=folder / "cache", weights=()))
    settings = {"model": "tiny", "weights": "none", "image_size": 16, "limit": 120, "epochs": 1}
    return train(digits, out=folder / "run", launch=launch, **settings)


def again(run: Run, *observers: NullObserver) -> Run:
    """Take the steps after the training of `run` again."""
    paths = Paths(cache=run.path.parent / "cache", weights=())
    return resume(run.path, launch=LaunchContext(paths=paths, observers=observers))


@pytest.mark.parametrize("step", PLACES)
def test_a_failing_step_costs_itself_alone(trained: Run, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    places = [trained.files.findings, trained.bundle / "bundle.json", trained.bundle / "model.onnx"]
    places += [trained.files.scores, trained.files.report]
    for path in places:
        path.unlink(missing_ok=True)
    monkeypatch.setattr(*PLACES[step], raising(BadBundle("planted", "it fails")))
    seen = FailedSteps()
    run = again(trained, seen)
    assert (run.status, run.reason) == (RunStatus.COMPLETED, "")
    command = {"verdicts": "clearsight debug", "report": "clearsight report"}.get(step, "clearsight train --resume")
    expected = [{"step": step, "problem": "planted: it fails.", "command": f"{command} {run.path}"}]
    assert Run.open(run.path).failed_steps == expected == [failed.to_json() for failed in seen.steps]
    assert f"failed   {step}: planted: it fails." in end_lines(run)
    written = [path.exists() for path in places]
    lost = {
        "verdicts": [0],
        "calibration": [],
        "model": [1, 2, 3],  # without a bundle nothing can be measured
        "onnx": [2],
        "evaluation": [3],
        "report": [4],
    }
    assert written == [index not in lost[step] for index in range(len(places))]
    if step != "report":
        assert "planted: it fails." in run.files.report.read_text()


def test_without_onnx_torch_measures_the_same_scores(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = again(trained).scores["test"]
    monkeypatch.setattr(*PLACES["onnx"], raising(BadBundle("planted", "it fails")))
    assert again(trained).scores["test"] == pytest.approx(scores, rel=1e-4)


@pytest.mark.parametrize("step", ["calibration", "report"])
def test_ctrl_c_leaves_a_run_that_resume_finishes(trained: Run, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    with monkeypatch.context() as planted:
        planted.setattr(*PLACES[step], raising(KeyboardInterrupt()))
        run = again(trained)
    assert (run.status, run.stop_kind, run.failed_steps) == (RunStatus.INTERRUPTED, StopKind.SIGNAL, [])
    assert end_lines(Run.open(run.path))[-1] == f"next     clearsight train --resume {run.path}"
    assert again(trained).status is RunStatus.COMPLETED


@pytest.mark.parametrize("step", ["model", "evaluation", "report"])
def test_a_full_disk_leaves_a_run_that_resume_finishes(
    trained: Run, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with monkeypatch.context() as planted:
        planted.setattr(*PLACES[step], raising(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(DiskFull, match=f"continue with: clearsight train --resume {trained.path}"):
            again(trained)
    assert Run.open(trained.path).status is RunStatus.INTERRUPTED
    run = again(trained)
    assert (run.status, run.failed_steps, run.has_bundle) == (RunStatus.COMPLETED, [], True)
    assert read_findings(run.files.findings)
    assert read_json(run.files.report_json)


def test_a_defect_is_one_sentence_and_its_traceback_is_in_the_log(tmp_path: Path) -> None:
    run = Run.begin(tmp_path / "run", Recipe())
    steps = FinalSteps(run, LogWriter(run.files.log).on_failed_step)
    assert steps("evaluation", raising(ValueError("two\nlines"))) is None
    assert run.failed_steps[0]["problem"] == "ValueError: two lines"
    assert "raise error" in run.files.log.read_text()
    assert steps("evaluation", lambda number: number, 3) == 3
