"""Warm start: trials of earlier studies are imported once, and count for nothing but the search."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.errors import BadValue, NotFound
from clearsight.core.study import Study
from clearsight.core.trial import Objective, Trial, best_trial
from clearsight.tuning.storage.optuna_storage import file_url
from clearsight.workflow.study.warm_start import check_warm_start, earlier_trials, import_earlier_trials
from tests.workflow.study_folders import BETTER, FAILED, GOOD, PRUNED, begin_study, store_of, write_study


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return write_study(tmp_path_factory.mktemp("studies") / "earlier", [GOOD, BETTER, PRUNED, FAILED], running=1)


def imported(study: Study, times: int = 1) -> list[Trial]:
    store = store_of(study)
    try:
        for _ in range(times):
            import_earlier_trials(study, store)
        return store.trials()
    finally:
        store.close()


def test_complete_and_pruned_trials_are_imported(earlier: Study, tmp_path: Path) -> None:
    later = begin_study(tmp_path / "later", warm_start=(str(earlier.path),))
    trials = imported(later)
    assert [trial.state.value for trial in trials] == ["complete", "complete", "pruned"]
    assert {trial.source for trial in trials} == {str(earlier.path)}
    assert [trial.values for trial in trials] == [(0.7,), (0.9,), ()]
    assert best_trial(trials, later.objective) is None


def test_trials_are_imported_once(earlier: Study, tmp_path: Path) -> None:
    later = begin_study(tmp_path / "later", warm_start=(str(earlier.path),))
    assert len(imported(later, times=2)) == 3
    assert len(imported(later)) == 3  # also when the study is continued


def test_only_trials_inside_the_space_are_imported(earlier: Study, tmp_path: Path) -> None:
    narrow = ["lr=[0.1]", "epochs=[2]", "optimizer=[sgd]", "momentum=[0.5,0.9] when optimizer=sgd"]
    later = begin_study(tmp_path / "later", space=narrow, warm_start=(str(earlier.path),))
    trials = imported(later)
    assert 0 < len(trials) < 3
    assert all(later.plan.space.contains(trial.params) for trial in trials)


def test_a_study_in_a_storage_is_named_by_its_url(earlier: Study, tmp_path: Path) -> None:
    url = file_url(earlier.path / "study.db")
    later = begin_study(tmp_path / "later", warm_start=(f"{url}#earlier", url))
    assert [len(earlier_trials(source, later.plan)) for source in later.plan.warm_start] == [5, 5]
    with pytest.raises(NotFound, match="no such study in this storage; it has earlier"):
        earlier_trials(f"{url}#other", later.plan)


def test_a_missing_study_is_an_error_before_the_study_begins(earlier: Study, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no study in this folder"):
        check_warm_start(earlier.plan.replace(warm_start=(str(tmp_path / "never"),)))
    check_warm_start(earlier.plan.replace(warm_start=(str(earlier.path),)))


def test_a_study_with_other_objectives_is_refused(earlier: Study) -> None:
    other = earlier.plan.replace(objectives=(Objective("loss", "minimize"),), warm_start=(str(earlier.path),))
    with pytest.raises(BadValue) as caught:
        check_warm_start(other)
    assert str(caught.value) == (
        f"--warm-start {earlier.path}: that study optimizes accuracy (maximized). Use the same --metric."
    )
