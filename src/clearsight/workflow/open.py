"""open_study: what a study found, to be asked while it goes on or after."""

from __future__ import annotations

import importlib
import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clearsight.core.bundle import open_bundle
from clearsight.core.run import Run
from clearsight.core.study import Study
from clearsight.core.trial import Trial, TrialState, best_trial, pareto_front
from clearsight.tuning.analysis.importance import importances
from clearsight.tuning.trial_store import read_trials
from clearsight.workflow.study.best import best_run

Columns = Literal["own", "sagemaker"]

_STATUS = {  # as the analytics of SageMaker's tuning jobs call it
    TrialState.RUNNING: "InProgress",
    TrialState.COMPLETE: "Completed",
    TrialState.PRUNED: "Stopped",
    TrialState.FAILED: "Failed",
}


class SavedStudy:
    """A study folder, and the trials as they were when it was opened."""

    def __init__(self, study: Study, trials: list[Trial]) -> None:
        self.study, self.trials = study, trials

    @property
    def best(self) -> Trial | None:
        """The best complete trial by the first objective; None where none is complete."""
        return best_trial(self.trials, self.study.aim)

    @property
    def front(self) -> list[Trial]:
        """The Pareto front of several objectives."""
        return pareto_front(self.trials, self.study.plan.objectives)

    @property
    def best_run(self) -> Run | None:
        """The run of the best trial, with its model; None where there is none yet."""
        return best_run(self.study)

    def importances(self) -> dict[str, dict[str, float]]:
        """How much of the objective each field explains, by method; {} where the trials are too few."""
        return importances(self.trials, self.study.plan.space, self.study.aim)

    def to_frame(self, columns: Columns = "own") -> Any:
        """A row per trial of this study: a pandas DataFrame where pandas is installed, else a list of dicts.

        columns: "own" (number, state, a column per objective and per varied field, best_epoch, trained_epochs, started,
        duration, worker, reason, same_as; no objective and no field has the name of one of these), or "sagemaker":
        those of its HyperparameterTuningJobAnalytics, a column per field first (numbers as float, words in double
        quotes), then TrainingJobName, TrainingJobStatus, FinalObjectiveValue, TrainingStartTime, TrainingEndTime,
        TrainingElapsedTimeSeconds.
        """
        make = self._analytics if columns == "sagemaker" else self._row
        rows = [make(trial) for trial in self.trials if trial.own]
        if importlib.util.find_spec("pandas") is None:
            return rows
        return importlib.import_module("pandas").DataFrame(rows)

    def _row(self, trial: Trial) -> dict[str, Any]:
        return {
            "number": trial.number,
            "state": trial.state.value,
            **{one.metric: value for one, value in zip(self.study.plan.objectives, _values(self, trial), strict=True)},
            **{name: trial.params.get(name) for name in self.study.plan.space.names},
            "best_epoch": trial.best_epoch,
            "trained_epochs": trial.epochs,
            "started": _time(trial.started),
            "duration": trial.seconds,
            "worker": trial.worker,
            "reason": trial.reason,
            "same_as": trial.same_as,
        }

    def _analytics(self, trial: Trial) -> dict[str, Any]:
        over = trial.state is not TrialState.RUNNING
        value = trial.values[0] if trial.values else list(trial.curve.values())[-1] if over and trial.curve else None
        return {
            **{name: _as_sent(trial.params.get(name)) for name in self.study.plan.space.names},
            "TrainingJobName": f"{self.study.name}-{trial.number + 1:03d}",
            "TrainingJobStatus": _STATUS[trial.state],
            "FinalObjectiveValue": value,
            "TrainingStartTime": _time(trial.started),
            "TrainingEndTime": _time(trial.started + trial.seconds) if over and trial.started else None,
            "TrainingElapsedTimeSeconds": trial.seconds if over else None,
        }


def open_study(path: str | Path) -> SavedStudy:
    """The study in the folder `path`, which may still be growing. Raises NotFound where no study is in it."""
    study = Study.open(Path(path))
    return SavedStudy(study, read_trials(study))


def _values(found: SavedStudy, trial: Trial) -> list[float | None]:
    return list(trial.values) or [None] * len(found.study.plan.objectives)


def _as_sent(value: Any) -> Any:
    """A value as it comes back from a service to which all of them were words."""
    if isinstance(value, bool) or value is None:
        return value
    return float(value) if isinstance(value, int | float) else f'"{value}"'


def _time(stamp: float) -> datetime | None:
    return datetime.fromtimestamp(stamp, UTC) if stamp else None


if TYPE_CHECKING:
    from clearsight.models.network import Network


def load(model: str | Path) -> Network:
    """The network of the run or bundle `model` with its trained weights, in eval mode."""
    from clearsight.models.bundle import load as load_network

    with open_bundle(Path(model)) as bundle:
        network = load_network(bundle)
    network.model.eval()
    return network


if TYPE_CHECKING:
    from clearsight.debugger.storage.saved_run import SavedRun


def open_run(path: str | Path, rank: int = 0) -> SavedRun:
    """The tensors, scalars and findings of the run folder `path`, which may still be growing.

    A folder that a Hook wrote in somebody's own loop opens too.  rank: whose tensors, where several processes saved.
    Raises NotFound where no run is in the folder.
    """
    from clearsight.debugger.storage.saved_run import SavedRun

    return SavedRun(Path(path), rank)
