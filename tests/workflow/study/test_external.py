"""ExternalStudy: values for trials that somebody else runs, and a study folder of what came of them."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.space import Choice, Dimension, FloatRange, Space
from clearsight.core.study import Study, StudyStatus
from clearsight.core.trial import Objective, Trial, TrialState
from clearsight.workflow.open import open_study
from clearsight.workflow.study.external import ExternalStudy

SPACE = Space(
    (
        Dimension(name="learning-rate", domain=FloatRange(low=1e-4, high=1e-1, log=True)),
        Dimension(name="batch_size", domain=Choice(values=('"32"', '"64"'))),
    )
)


def study(space: Space = SPACE, searcher: str = "random") -> ExternalStudy:
    return ExternalStudy(space=space, objective=Objective("validation loss", "minimize"), searcher=searcher, seed=3)


def test_values_that_a_trial_has_had_are_avoided_while_there_are_others() -> None:
    space = Space((Dimension(name="a", domain=Choice(values=("1", "2", "3", "4"))),))
    trials: list[Trial] = []
    for number in range(5):
        values = study(space).propose(trials)
        assert values is not None
        trials.append(Trial(number=number, state=TrialState.RUNNING, params=values))
    assert {trial.params["a"] for trial in trials[:4]} == {"1", "2", "3", "4"}
    assert trials[4].params["a"] in ("1", "2", "3", "4")  # nothing else is left


def test_a_study_folder_has_the_trials_and_a_report(tmp_path: Path) -> None:
    external, trials = study(), list[Trial]()
    for number in range(5):
        params = external.propose(trials)
        assert params is not None
        state, values = (TrialState.FAILED, ()) if number == 4 else (TrialState.COMPLETE, (1.0 - number / 10,))
        curve = {1: 2.0, 2: 1.0 - number / 10}
        trials.append(
            Trial(number=number, state=state, params=params, values=values, curve=curve, seconds=3.0, started=1e9)
        )
    for _ in range(2):  # the second time, it is replaced
        page = external.write(tmp_path / "studies" / "first", "first", trials, seconds=15.0, is_running=False)
    assert "validation loss" in page.read_text()
    saved = open_study(tmp_path / "studies" / "first")
    assert saved.trials == trials
    assert (saved.best.number if saved.best else None) == 3
    assert [*(tmp_path / "studies").iterdir()] == [tmp_path / "studies" / "first"]
    assert Study.open(tmp_path / "studies" / "first").status is StudyStatus.COMPLETED
    assert "clearsight train" not in page.read_text(), "a recipe of clearsight has no part in it"
