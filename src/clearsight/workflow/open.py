"""load, open_study: what runs and studies left, for use in Python.

Models and tensors are imported on first use: opening a study loads no torch.
"""

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
from clearsight.tuning.analysis.savings import study_savings
from clearsight.tuning.storage.optuna_storage import with_storage
from clearsight.tuning.trial_store import read_trials
from clearsight.workflow.results.study import study_figure, study_html, study_text
from clearsight.workflow.study.report import best_run

if TYPE_CHECKING:  # torch and safetensors, imported when a function needs them
    import plotly.graph_objects as go

    from clearsight.models.network import Network

Columns = Literal["own", "sagemaker"]

_STATUS = {  # the words of SageMaker's HyperparameterTuningJobAnalytics
    TrialState.RUNNING: "InProgress",
    TrialState.COMPLETE: "Completed",
    TrialState.PRUNED: "Stopped",
    TrialState.FAILED: "Failed",
}


class SavedStudy:
    """A study folder with its trials as they were when it was opened."""

    def __init__(self, study: Study, trials: list[Trial]) -> None:
        self.study, self.trials = study, trials

    def plot(self, what: str = "history") -> go.Figure:
        """Return a Plotly figure: "history" of the objective, "importance" of the settings, or "curves" of the trials.

        Raises BadChoice for another name, EmptyInput where too few trials are complete, MissingExtra without plotly.
        """
        return study_figure(self.study, self.trials, what)

    def __repr__(self) -> str:
        return "\n".join(study_text(self.study, self.trials))

    def _repr_html_(self) -> str:
        return study_html(self.study, self.trials)

    @property
    def best(self) -> Trial | None:
        """Return the best complete trial by the first objective; None where none is complete."""
        return best_trial(self.trials, self.study.objective)

    @property
    def front(self) -> list[Trial]:
        """Return the Pareto front of several objectives."""
        return pareto_front(self.trials, self.study.plan.objectives)

    @property
    def best_run(self) -> Run | None:
        """Return the run of the best trial, with its model; None where there is none yet."""
        return best_run(self.study)

    def savings(self) -> dict[str, float]:
        """Return the seconds, epochs and trials that the study did not have to compute."""
        return study_savings(self.trials)

    def importances(self) -> dict[str, dict[str, float]]:
        """Return how much of the objective each field explains, by method; {} where the trials are too few."""
        return importances(self.trials, self.study.plan.space, self.study.objective)

    def to_frame(self, columns: Columns = "own") -> Any:
        """Return a row per trial of this study: a pandas DataFrame where pandas is installed, else a list of dicts.

        columns: "own" (number, state, a column per objective and per varied field, best_epoch, trained_epochs, started,
        duration, worker, reason, same_as; no objective and no field has the name of one of these), or "sagemaker":
        those of its HyperparameterTuningJobAnalytics, a column per field first (numbers as float, words in double
        quotes), then TrainingJobName, TrainingJobStatus, FinalObjectiveValue, TrainingStartTime, TrainingEndTime,
        TrainingElapsedTimeSeconds.
        """
        make = self._analytics if columns == "sagemaker" else self._row
        rows = [make(trial) for trial in self.trials if not trial.imported]
        if importlib.util.find_spec("pandas") is None:  # pandas is not among the requirements
            return rows
        return importlib.import_module("pandas").DataFrame(rows)

    def _row(self, trial: Trial) -> dict[str, Any]:
        metrics = [objective.metric for objective in self.study.plan.objectives]
        return {
            "number": trial.number,
            "state": trial.state.value,
            **dict(zip(metrics, trial.values or [None] * len(metrics), strict=True)),
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
        ended = trial.state is not TrialState.RUNNING
        # A pruned trial has no values: that of its last epoch stands for them.
        value = trial.values[0] if trial.values else list(trial.curve.values())[-1] if ended and trial.curve else None
        return {
            **{name: _as_analytics(trial.params.get(name)) for name in self.study.plan.space.names},
            "TrainingJobName": f"{self.study.name}-{trial.number + 1:03d}",  # SageMaker counts its jobs from 1
            "TrainingJobStatus": _STATUS[trial.state],
            "FinalObjectiveValue": value,
            "TrainingStartTime": _time(trial.started),
            "TrainingEndTime": _time(trial.started + trial.seconds) if ended and trial.started else None,
            "TrainingElapsedTimeSeconds": trial.seconds if ended else None,
        }


def open_study(path: str | Path, *, storage: str | None = None) -> SavedStudy:
    """Return the study in the folder `path`, which may still be growing. Raises NotFound where there is none.

    storage: the URL of its storage, where that needs a password, which a study does not keep.
    """
    study = Study.open(Path(path))
    study.plan = with_storage(study.plan, storage)
    return SavedStudy(study, read_trials(study))


def _as_analytics(value: Any) -> Any:
    """Return a value as SageMaker's analytics give it: numbers as float, words in double quotes."""
    if isinstance(value, bool) or value is None:
        return value
    return float(value) if isinstance(value, int | float) else f'"{value}"'


def _time(stamp: float) -> datetime | None:
    return datetime.fromtimestamp(stamp, UTC) if stamp else None  # 0.0 means that it has not started


def load(model: str | Path) -> Network:
    """Return the network of the run or bundle `model` with its trained weights, in eval mode."""
    from clearsight.models.bundle import load as load_network

    with open_bundle(Path(model)) as bundle:
        network = load_network(bundle)
    # Dropout and batch normalisation would make each prediction differ otherwise.
    network.model.eval()
    return network
