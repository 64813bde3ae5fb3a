"""A study folder is plain files: what was asked, of which recipe, and how it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadData, NotFound, NotResumable
from clearsight.core.recipe import Recipe
from clearsight.core.space import Choice, Dimension, FloatRange, Space
from clearsight.core.study import Study, StudyPlan, StudyStatus
from clearsight.core.trial import Objective

SPACE = Space(
    (
        Dimension(name="optimizer", domain=Choice(values=("sgd", "adamw"))),
        Dimension(name="momentum", domain=FloatRange(low=0.5, high=0.9), when={"optimizer": ("sgd",)}),
    )
)


def planned(**changes: Any) -> StudyPlan:
    asked = {"data": "/data", "space": SPACE, "objectives": (Objective("accuracy", "maximize"),), "trials": 20}
    return StudyPlan(**{**asked, **changes})


def begun(path: Path, **facts: Any) -> Study:
    return Study.begin(path, planned(), Recipe().replace(lr=0.5), **facts)


def test_opens_as_it_was_saved(tmp_path: Path) -> None:
    study = begun(tmp_path / "s", command=["clearsight", "tune"], versions={"optuna": "5"}, hardware={"cores": 2})
    study.best = {"trial": 3, "value": 0.5, "params": {"optimizer": "sgd"}}
    study.seconds = 12.5
    study.finish(StudyStatus.STOPPED_EARLY, "the target was reached")
    again = Study.open(tmp_path / "s")
    assert again == study
    assert again.status is StudyStatus.STOPPED_EARLY
    assert again.recipe.optim.lr == 0.5


def test_is_named_by_its_folder_unless_said_otherwise(tmp_path: Path) -> None:
    assert begun(tmp_path / "photos-1").name == "photos-1"
    assert begun(tmp_path / "photos-2", name="photos").name == "photos"


def test_trials_lie_below_it_by_number(tmp_path: Path) -> None:
    study = begun(tmp_path / "s")
    assert (tmp_path / "s" / "trials").is_dir()
    assert study.folder(7) == tmp_path / "s" / "trials" / "0007"
    assert study.folder(12345) == tmp_path / "s" / "trials" / "12345"


def test_never_overwrites_a_study(tmp_path: Path) -> None:
    begun(tmp_path / "s")
    with pytest.raises(NotResumable, match=r"a study is there already\. Go on with it by --resume .*, or choose anoth"):
        begun(tmp_path / "s")


def test_a_folder_without_a_study_is_said(tmp_path: Path) -> None:
    assert not Study.is_one(tmp_path)
    with pytest.raises(NotFound, match=r"there is no study in this folder \(no study\.json\)"):
        Study.open(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda facts: facts.pop("status"),
        lambda facts: facts.update(status="sleeping"),
        lambda facts: facts.pop("plan"),
        lambda facts: facts.update(plan=[1, 2]),
        lambda facts: facts["plan"].update(space=["lr"]),
        lambda facts: facts["plan"].update(space=None),
        lambda facts: facts["plan"]["space"][0].update(kind="imaginary"),
        lambda facts: facts["plan"]["space"][0].update(when=[]),
        lambda facts: facts["plan"].pop("objectives"),
        lambda facts: facts["plan"].update(of_a_later_version=1),
        lambda facts: facts.update(of_a_later_version=1),
    ],
)
def test_a_damaged_study_is_one_sentence(tmp_path: Path, damage: Any) -> None:
    begun(tmp_path / "s")
    file = tmp_path / "s" / "study.json"
    facts = json.loads(file.read_text())
    damage(facts)
    file.write_text(json.dumps(facts))
    with pytest.raises(BadData, match=r"study\.json: it is damaged \(.*\)\. Restore it\."):
        Study.open(tmp_path / "s")


@pytest.mark.parametrize("text", ["", "{", "[]", '"study"', "3"])
def test_what_is_no_study_at_all_is_damaged_too(tmp_path: Path, text: str) -> None:
    begun(tmp_path / "s")
    (tmp_path / "s" / "study.json").write_text(text)
    with pytest.raises(BadData, match="it is damaged"):
        Study.open(tmp_path / "s")


def test_the_first_objective_picks_the_best(tmp_path: Path) -> None:
    study = begun(tmp_path / "s")
    study.plan = planned(objectives=(Objective("loss", "minimize"), Objective("accuracy", "maximize")))
    assert study.aim.metric == "loss"


@given(
    trials=st.integers(1, 1000),
    parallel=st.integers(1, 16),
    time_limit=st.none() | st.floats(0, 1e6),
    epoch_budget=st.none() | st.integers(1, 1000),
    target=st.none() | st.floats(-1, 1),
    stop_after=st.none() | st.integers(1, 9),
    storage=st.sampled_from(["", "sqlite:///s.db"]),
    warm_start=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    gpus_per_trial=st.none() | st.floats(0, 1),
)
def test_a_plan_comes_back_as_it_was_kept(**changes: Any) -> None:
    plan = planned(**changes)
    assert StudyPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
