"""Leading a study: the check of its data before any trial. Whole studies are in tests/workflow/test_tune.py."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadData, BadValue
from clearsight.core.recipe import Recipe
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective
from clearsight.tuning.space_syntax import parse_space
from clearsight.workflow.paths import Paths
from clearsight.workflow.study.lead import StudyContext, check_data

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
