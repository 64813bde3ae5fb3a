"""Study folders without training, written through the TrialStore that a study uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clearsight.core.recipe import Recipe
from clearsight.core.study import Study, StudyPlan
from clearsight.core.trial import Objective, TrialResult, TrialState
from clearsight.testing.searchers import propose
from clearsight.tuning.space_syntax import parse_space
from clearsight.tuning.trial_store import TrialStore
from clearsight.workflow.study.plan import searcher_of

ACCURACY = Objective("accuracy", "maximize")
PARAMETERS = Objective("parameters", "minimize")
SPACE = ("lr=[0.1,0.01,0.001,0.0001]", "epochs=[2]", "optimizer=[sgd,adamw]", "momentum=[0.5,0.9] when optimizer=sgd")
START = 1_700_000_000.0


def begin_study(folder: Path, *, space: Sequence[str] = SPACE, **plan: Any) -> Study:
    """Write a study without trials."""
    values: dict[str, Any] = {"data": "/data/photos", "objectives": (ACCURACY,), "trials": 12, "searcher": "grid"}
    recipe = Recipe().replace(model="tiny", weights="none")
    return Study.begin(folder, StudyPlan(space=parse_space(space), **{**values, **plan}), recipe)


def store_of(study: Study) -> TrialStore:
    return TrialStore(study, searcher_of(study.plan.searcher), "none", 2)


def trial_result(state: TrialState, *values: float, reason: str = "", epochs: int = 2) -> TrialResult:
    """Return a result for the next proposed trial."""
    scores = {"accuracy": values[0], "loss": 1 - values[0], "macro_f1": values[0]} if values else {}
    curve = {epoch: {"accuracy": 0.1 * epoch, "loss": 1.0} for epoch in range(1, epochs)}
    if scores:
        curve[epochs] = scores
    return TrialResult(
        number=-1,
        state=state,
        values=values,
        reason=reason,
        curve=curve,
        scores=scores,
        best_epoch=epochs if values else None,
        started=START,
        seconds=10.0,
    )


def write_study(folder: Path, results: Sequence[TrialResult], *, running: int = 0, **plan: Any) -> Study:
    """Write a study with these results, in the order of the grid, and `running` unfinished trials."""
    study = begin_study(folder, **plan)
    store = store_of(study)
    for planned in results:
        number = propose(store).number
        store.update(number, worker=0, planned=2, started=planned.started)
        finished = replace(planned, number=number)
        store.folder(number).write_result(finished)
        store.finish(finished)
    for _ in range(running):
        store.update(propose(store).number, worker=1, planned=2, started=START)
    store.close()
    return study


GOOD, BETTER, PRUNED, FAILED = (
    trial_result(TrialState.COMPLETE, 0.7),
    trial_result(TrialState.COMPLETE, 0.9),
    trial_result(TrialState.PRUNED, reason="it is worse than the others"),
    trial_result(TrialState.FAILED, reason="its worker was killed by SIGKILL, in 3 attempts", epochs=1),
)
