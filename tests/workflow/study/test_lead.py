"""Leading a study: the check of its data and its warm start. Whole studies are in tests/workflow/test_tune.py."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadData, BadValue, NotFound
from clearsight.core.recipe import Recipe
from clearsight.core.study import Study, StudyPlan
from clearsight.core.trial import Objective, Trial, best_trial
from clearsight.tuning.space_syntax import parse_space
from clearsight.tuning.storage.optuna_storage import file_url
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.lead import (
    StudyContext,
    check_data,
    check_warm_start,
    earlier_trials,
    import_earlier_trials,
)
from tests.workflow.study_folders import BETTER, FAILED, GOOD, PRUNED, begin_study, store_of, write_study

RECIPE = Recipe().replace(model="tiny", weights="none", image_size=16)


def plan(data: Path, metric: str = "accuracy") -> StudyPlan:
    return StudyPlan(
        data=str(data), space=parse_space(["lr=log(1e-4,1e-1)"]), objectives=(Objective(metric, "maximize"),)
    )


@pytest.fixture
def launch(tmp_path: Path) -> StudyContext:
    return StudyContext(paths=Paths(cache=tmp_path / "cache", weights=()))


def test_readable_data_need_no_note(digits: Path, launch: StudyContext) -> None:
    assert check_data(plan(digits), RECIPE, launch) == []


def test_data_without_validation_images_are_refused(digits: Path, tmp_path: Path, launch: StudyContext) -> None:
    data = tmp_path / "data"
    for digit in "34":
        shutil.copytree(digits / "train" / digit, data / "train" / digit)
    (data / "valid" / "3").mkdir(parents=True)
    (data / "valid" / "3" / "bad.png").write_bytes(b"no image")
    with pytest.raises(BadData, match="no validation images to compare trials by"):
        check_data(plan(data), RECIPE, launch)


def test_roc_auc_needs_two_classes(digits: Path, launch: StudyContext) -> None:
    with pytest.raises(BadValue, match="--metric roc_auc: it needs two classes, and this dataset has 10"):
        check_data(plan(digits, "roc_auc"), RECIPE, launch)


def test_an_unreadable_image_is_a_note_or_an_error(digits: Path, tmp_path: Path, launch: StudyContext) -> None:
    data = tmp_path / "data"
    shutil.copytree(digits, data)
    (data / "train" / "3" / "cut.png").write_bytes(next((data / "train" / "3").glob("*.png")).read_bytes()[:40])
    (note,) = check_data(plan(data), RECIPE, launch)
    assert "cut.png" in note
    assert note.endswith("left out.")
    strict: dict[str, Any] = {"on_bad": "fail"}
    with pytest.raises(BadData, match=r"cut\.png .*--on-bad skip"):
        check_data(plan(data), RECIPE.replace(**strict), launch)


def test_a_context_has_the_paths_of_the_user_by_default(launch: StudyContext) -> None:
    assert launch.cache_paths is launch.paths
    assert StudyContext().cache_paths == Paths.of({})


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
