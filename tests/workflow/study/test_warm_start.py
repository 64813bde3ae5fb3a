"""What an earlier study found is there for the search of a new one, once, and counts for nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clearsight.core.errors import BadValue, NotFound
from clearsight.core.study import Study
from clearsight.core.trial import Objective, Trial, best_trial
from clearsight.tuning.storage.optuna_storage import file_url
from clearsight.workflow.study.warm_start import check_warm_start, earlier_trials, import_earlier_trials
from tests.workflow.made_studies import BETTER, BROKEN, CUT, GOOD, begun_study, ledger_of, made_study


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return made_study(tmp_path_factory.mktemp("studies") / "earlier", [GOOD, BETTER, CUT, BROKEN], under_way=1)


def brought(study: Study, times: int = 1) -> list[Trial]:
    ledger = ledger_of(study)
    try:
        for _ in range(times):
            import_earlier_trials(study, ledger)
        return ledger.trials()
    finally:
        ledger.close()


def test_what_ended_is_brought_and_the_rest_is_not(earlier: Study, tmp_path: Path) -> None:
    later = begun_study(tmp_path / "later", warm_start=(str(earlier.path),))
    trials = brought(later)
    assert [trial.state.value for trial in trials] == ["complete", "complete", "pruned"]
    assert {trial.source for trial in trials} == {str(earlier.path)}
    assert [trial.values for trial in trials] == [(0.7,), (0.9,), ()]
    assert best_trial(trials, later.aim) is None


def test_it_is_brought_once(earlier: Study, tmp_path: Path) -> None:
    later = begun_study(tmp_path / "later", warm_start=(str(earlier.path),))
    assert len(brought(later, times=2)) == 3
    assert len(brought(later)) == 3  # and not again when the study is gone on with


def test_only_what_lies_in_the_space_is_brought(earlier: Study, tmp_path: Path) -> None:
    narrow = ["lr=[0.1]", "epochs=[2]", "optimizer=[sgd]", "momentum=[0.5,0.9] when optimizer=sgd"]
    later = begun_study(tmp_path / "later", space=narrow, warm_start=(str(earlier.path),))
    kept = brought(later)
    assert 0 < len(kept) < 3
    assert all(later.plan.space.holds(trial.params) for trial in kept)


def test_a_storage_is_named_by_its_url(earlier: Study, tmp_path: Path) -> None:
    url = file_url(earlier.path / "study.db")
    later = begun_study(tmp_path / "later", warm_start=(f"{url}#earlier", url))
    assert [len(earlier_trials(source, later.plan)) for source in later.plan.warm_start] == [5, 5]
    with pytest.raises(NotFound, match="there is no such study; there are earlier"):
        earlier_trials(f"{url}#other", later.plan)


def test_a_study_that_is_not_there_is_said_before_anything_is_begun(earlier: Study, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no study in this folder"):
        check_warm_start(replace(earlier.plan, warm_start=(str(tmp_path / "never"),)))
    check_warm_start(replace(earlier.plan, warm_start=(str(earlier.path),)))


def test_a_study_that_aimed_at_something_else_tells_nothing(earlier: Study) -> None:
    other = replace(earlier.plan, objectives=(Objective("loss", "minimize"),), warm_start=(str(earlier.path),))
    with pytest.raises(BadValue) as caught:
        check_warm_start(other)
    assert str(caught.value) == (
        f"--warm-start {earlier.path}: that study aimed at accuracy (maximized). Say the same with --metric."
    )
