"""Study folders made by hand, through the very ledger that a study uses; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clearsight.core.recipe import Recipe
from clearsight.core.study import Study, StudyPlan
from clearsight.core.trial import Objective, Trial, TrialResult, TrialState
from clearsight.tuning.space_syntax import parse_space
from clearsight.tuning.trial_store import TrialStore
from clearsight.workflow.study.plan import searcher_of

ACCURACY = Objective("accuracy", "maximize")
PARAMETERS = Objective("parameters", "minimize")
SPACE = ("lr=[0.1,0.01,0.001,0.0001]", "epochs=[2]", "optimizer=[sgd,adamw]", "momentum=[0.5,0.9] when optimizer=sgd")
START = 1_700_000_000.0


def begun_study(folder: Path, *, space: Sequence[str] = SPACE, **plan: Any) -> Study:
    """A study that was begun and has no trial yet."""
    told: dict[str, Any] = {"data": "/data/photos", "objectives": (ACCURACY,), "trials": 12, "searcher": "grid", **plan}
    recipe = Recipe().replace(model="tiny", weights="none")
    return Study.begin(folder, StudyPlan(space=parse_space(space), **told), recipe)


def ledger_of(study: Study) -> TrialStore:
    return TrialStore(study, searcher_of(study.plan.searcher), "none", 2)


def came_to(state: TrialState, *values: float, reason: str = "", epochs: int = 2) -> TrialResult:
    """An outcome for whichever trial is proposed next."""
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


def made_study(folder: Path, outcomes: Sequence[TrialResult], *, under_way: int = 0, **plan: Any) -> Study:
    """A study whose trials, in the order of a grid, came to these outcomes, with some under way behind them."""
    study = begun_study(folder, **plan)
    ledger = ledger_of(study)
    for outcome in outcomes:
        trial = proposed(ledger)
        ledger.note(trial.number, worker=0, planned=2, started=outcome.started)
        kept = TrialResult(**{**{name: getattr(outcome, name) for name in outcome.__slots__}, "number": trial.number})
        ledger.folder(trial.number).conclude(kept)
        ledger.finish(kept)
    for _ in range(under_way):
        ledger.note(proposed(ledger).number, worker=1, planned=2, started=START)
    ledger.close()
    return study


def proposed(ledger: TrialStore) -> Trial:
    trial = ledger.propose()
    assert trial is not None
    return trial


GOOD, BETTER, CUT, BROKEN = (
    came_to(TrialState.COMPLETE, 0.7),
    came_to(TrialState.COMPLETE, 0.9),
    came_to(TrialState.PRUNED, reason="it is behind"),
    came_to(TrialState.FAILED, reason="its worker was ended by SIGKILL, 3 times", epochs=1),
)
