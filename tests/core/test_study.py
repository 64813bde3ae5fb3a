"""A study is a plan, checked against its declaration, and a folder of plain files that opens again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadData, BadValue, NotFound, NotResumable, StudyUnavailable
from clearsight.core.recipe import Recipe
from clearsight.core.settings import declared
from clearsight.core.space import Choice, Dimension, FloatRange, Space
from clearsight.core.stop import StopKind, StopReason
from clearsight.core.study import Study, StudyPlan, StudyStatus
from clearsight.core.trial import Objective

SPACE = Space(
    (
        Dimension(name="optimizer", domain=Choice(values=("sgd", "adamw"))),
        Dimension(name="momentum", domain=FloatRange(low=0.5, high=0.9), condition={"optimizer": ("sgd",)}),
    )
)


def make_plan(**changes: Any) -> StudyPlan:
    required = {"data": "/data", "space": SPACE, "objectives": (Objective("accuracy", "maximize"),)}
    return StudyPlan.parse({**required, **changes})


def begin_study(path: Path, **facts: Any) -> Study:
    return Study.begin(path, make_plan(), Recipe().replace(lr=0.5), **facts)


def test_opens_as_it_was_saved(tmp_path: Path) -> None:
    study = begin_study(tmp_path / "s", command=["clearsight", "tune"], versions={"optuna": "5"}, hardware={"cores": 2})
    study.best = {"trial": 3, "value": 0.5, "params": {"optimizer": "sgd"}, "run": "trials/0003/run"}
    study.seconds = 12.5
    study.finish(StudyStatus.STOPPED_EARLY, StopReason(StopKind.TARGET, "the target was reached"))
    again = Study.open(tmp_path / "s")
    assert again == study
    assert again.status is StudyStatus.STOPPED_EARLY
    assert again.recipe.optim.lr == 0.5


def test_no_file_of_a_study_has_a_password(tmp_path: Path) -> None:
    url = "postgresql://anna:hunter2@host/db?sslpassword=hunter3"
    plan = make_plan(storage=url, warm_start=(f"{url}#early",), on="ray://u:hunter4@host:1")
    recipe = Recipe().replace(on_finding=["notify:https://hooks.example.com/hunter5"])
    study = Study.begin(tmp_path / "s", plan, recipe, command=["clearsight", "tune", "--storage", url])
    private = [path for path in study.path.rglob("*") if path.is_file() and path.stat().st_mode & 0o077 == 0]
    assert private == [study.path / "recipe.yaml"]  # it must have the address to call it
    for path in study.path.rglob("*"):
        assert path in private or path.is_dir() or "hunter" not in path.read_text()
    assert study.plan.storage == url  # the process that was given it goes on with it
    assert Study.open(study.path).plan.storage == "postgresql://anna@host/db"


def test_two_that_begin_at_the_same_moment_do_not_mix(tmp_path: Path) -> None:
    study = begin_study(tmp_path / "other")
    study.path = tmp_path / "s"
    study.path.mkdir()
    with study.lock(), pytest.raises(StudyUnavailable, match=r"process \d+ on \S+ works on this study"):
        begin_study(tmp_path / "s")
    assert not Study.exists(tmp_path / "s")


def test_has_the_name_of_its_folder_unless_another_is_given(tmp_path: Path) -> None:
    assert begin_study(tmp_path / "photos-1").name == "photos-1"
    assert begin_study(tmp_path / "photos-2", name="photos").name == "photos"


def test_each_trial_has_a_folder_by_its_number(tmp_path: Path) -> None:
    study = begin_study(tmp_path / "s")
    assert (tmp_path / "s" / "trials").is_dir()
    assert study.folder(7) == tmp_path / "s" / "trials" / "0007"
    assert study.folder(12345) == tmp_path / "s" / "trials" / "12345"


def test_never_overwrites_a_study(tmp_path: Path) -> None:
    begin_study(tmp_path / "s")
    with pytest.raises(NotResumable, match=r"a study is there already\. Continue it with --resume .*, or choose an"):
        begin_study(tmp_path / "s")


def test_a_folder_without_a_study_is_an_error(tmp_path: Path) -> None:
    assert not Study.exists(tmp_path)
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
    begin_study(tmp_path / "s")
    file = tmp_path / "s" / "study.json"
    facts = json.loads(file.read_text())
    damage(facts)
    file.write_text(json.dumps(facts))
    with pytest.raises(BadData, match=r"study\.json: it is damaged \(.*\)\. Restore it\."):
        Study.open(tmp_path / "s")


@pytest.mark.parametrize("text", ["", "{", "[]", '"study"', "3"])
def test_a_file_that_is_no_study_is_damaged_too(tmp_path: Path, text: str) -> None:
    begin_study(tmp_path / "s")
    (tmp_path / "s" / "study.json").write_text(text)
    with pytest.raises(BadData, match="it is damaged"):
        Study.open(tmp_path / "s")


def test_the_first_objective_picks_the_best(tmp_path: Path) -> None:
    study = begin_study(tmp_path / "s")
    study.plan = make_plan(objectives=(Objective("loss", "minimize"), Objective("accuracy", "maximize")))
    assert study.objective.metric == "loss"


@given(
    trials=st.integers(1, 1000),
    parallel=st.integers(1, 16),
    time_limit=st.none() | st.floats(0, 1e6, exclude_min=True),
    epoch_budget=st.none() | st.integers(1, 1000),
    target=st.none() | st.floats(-1, 1),
    stop_after=st.none() | st.integers(1, 9),
    storage=st.sampled_from(["", "sqlite:///s.db"]),
    warm_start=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    gpus_per_trial=st.none() | st.floats(0, 1),
)
def test_a_plan_is_equal_after_json(**changes: Any) -> None:
    plan = make_plan(**changes)
    assert StudyPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_plan_of_an_earlier_version_opens() -> None:
    """The keys of study.json, as version 0.1 wrote them."""
    values = {
        "data": "/photos",
        "trials": 20,
        "parallel": 2,
        "stack": 10,
        "searcher": "tpe",
        "pruner": "auto",
        "seed": 3,
        "time_limit": 600.0,
        "epoch_budget": None,
        "target": 0.9,
        "stop_after": None,
        "storage": "",
        "warm_start": ["studies/photos-1"],
        "on": "local",
        "cpus_per_trial": None,
        "gpus_per_trial": None,
        "keep": 1,
        "space": [{"name": "lr", "kind": "real", "low": 1e-05, "high": 0.1, "log": True, "step": None, "when": {}}],
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
    }
    plan = StudyPlan.from_json(values)
    assert (plan.parallel, plan.seed, plan.warm_start, plan.target) == (2, 3, ("studies/photos-1",), 0.9)
    assert plan.to_json() == values


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trials": 0}, "--trials 0: must be a whole number, at least 1."),
        ({"trials": "few"}, "--trials few: must be a whole number, at least 1."),
        ({"parallel": 0}, "--parallel 0: must be a whole number, at least 1."),
        ({"stack": 0}, "--stack 0: must be a whole number, at least 1."),
        ({"keep": 0}, "--keep 0: must be a whole number, at least 1."),
        ({"stop_after": 0}, "--stop-after 0: must be a whole number, at least 1."),
        ({"epoch_budget": -1}, "--epoch-budget -1: must be a whole number, at least 1."),
        ({"cpus_per_trial": 0.0}, "--cpus-per-trial 0.0: must be a number, above 0."),
        ({"gpus_per_trial": -1}, "--gpus-per-trial -1: must be a number, at least 0."),
        ({"time_limit": 0.0}, "--time-limit 0.0: must be a number, above 0."),
        ({"target": math.nan}, "--target nan: must be a finite number."),
    ],
)
def test_a_plan_accepts_the_declared_ranges_only(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadValue) as caught:
        make_plan(**changes)
    assert str(caught.value) == sentence
    with pytest.raises(BadValue):
        make_plan().replace(**changes)


def test_a_plan_has_help_for_every_declared_setting() -> None:
    assert [name for name, info in declared(StudyPlan).items() if not info.description] == []
    assert set(StudyPlan.model_fields) - set(declared(StudyPlan)) == {"data", "space", "objectives", "seed"}


def test_a_study_whose_process_was_killed_is_interrupted(tmp_path: Path) -> None:
    study = begin_study(tmp_path / "study")
    assert Study.open(study.path).status is StudyStatus.RUNNING
    study.process = {**study.process, "start": "of an earlier process with this PID"}
    study.save()
    opened = Study.open(study.path)
    assert (opened.status, opened.stop_kind) == (StudyStatus.INTERRUPTED, StopKind.KILLED)
