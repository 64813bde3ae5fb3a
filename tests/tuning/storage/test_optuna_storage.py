"""Storages of Optuna are opened, or refused in one sentence that shows no password."""

from __future__ import annotations

import logging
import re
import sqlite3
from pathlib import Path

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from clearsight.core.errors import BadChoice, BadValue, ClearsightError, StudyUnavailable
from clearsight.core.space import Choice, Dimension, FloatRange, Space
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective
from clearsight.testing.searchers import MIXED, new_store, propose
from clearsight.tuning.searchers.random import Random
from clearsight.tuning.storage import optuna_storage as storage
from clearsight.tuning.storage.optuna_storage import (
    check_storage,
    file_url,
    open_storage,
    quiet_optuna,
    translate_storage_errors,
    with_storage,
)


def plan_of(url: str) -> StudyPlan:
    return StudyPlan(data="/data", space=MIXED, objectives=(Objective("accuracy", "maximize"),), storage=url)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked file is waited for a moment only."""
    monkeypatch.setattr(storage, "_PATIENCE", 0.05)


def test_a_missing_file_is_created(tmp_path: Path) -> None:
    open_storage(file_url(tmp_path / "study.db"))
    assert (tmp_path / "study.db").is_file()
    assert open_storage(file_url(tmp_path / "study.db")).get_all_studies() == []


def test_others_can_read_while_one_writes(tmp_path: Path) -> None:
    opened = open_storage(file_url(tmp_path / "study.db"))
    optuna.create_study(storage=opened, study_name="s")
    with sqlite3.connect(tmp_path / "study.db") as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        other.execute("BEGIN IMMEDIATE")
        assert [study.study_name for study in opened.get_all_studies()] == ["s"]
        other.rollback()
    other.close()


@pytest.mark.parametrize(
    ("url", "kind", "sentence"),
    [
        ("nonsense", BadValue, r"--storage nonsense: not the URL of a storage\. For example sqlite:///study\.db"),
        ("", BadValue, r"not the URL of a storage"),
        ("http://localhost/", BadValue, r"not the URL of a storage"),
        ("redis://localhost/1", BadValue, r"not the URL of a storage"),
        ("mysql+pymysql://anna:pass@h/db", BadValue, r"h/db: needs the package pymysql\. Install it: pip install"),
        (
            "postgresql://anna:pass@h/db",
            BadValue,
            r"anna:\*\*\*@h/db: needs the package psycopg\[binary\]\. Install it: pip",
        ),
        ("postgresql+no://anna:pass@h/db", BadValue, r"anna:\*\*\*@h/db: not the URL of a storage"),
        ("postgresql://anna:pass@h:port/db", BadValue, r"anna:\*\*\*@h:port/db: not the URL of a storage"),
        ("postgresql://h/db?user=anna&password=pass", BadValue, r"needs the package"),
        (
            "sqlite://",
            BadValue,
            r"--storage sqlite://: it names no file, so the study would be lost\. Remove --stor",
        ),
        ("sqlite:///:memory:", BadValue, r"it names no file"),
        (
            "sqlite:////no/such/folder/s.db",
            StudyUnavailable,
            r"its folder does not exist\. Create it, or name a file in",
        ),
        ("sqlite:////tmp", StudyUnavailable, r"it does not answer \(unable to open database file\)\. Check that"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_sentence(url: str, kind: type[ClearsightError], sentence: str) -> None:
    with pytest.raises(kind, match=sentence) as raised:
        open_storage(url)
    assert "\n" not in str(raised.value)
    assert "pass@" not in str(raised.value)
    assert "=pass" not in str(raised.value)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("there", [True, False])
def test_a_locked_file_is_an_error(tmp_path: Path, there: bool) -> None:
    if there:
        open_storage(file_url(tmp_path / "study.db"))
    other = sqlite3.connect(tmp_path / "study.db")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StudyUnavailable, match=r"another process has locked it\. End the process that writes"):
            optuna.create_study(storage=open_storage(file_url(tmp_path / "study.db")))
    finally:
        other.close()


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("my notes, and nothing else in here\n" * 40)
    with pytest.raises(StudyUnavailable, match=r"it does not answer \(file is not a database\)"):
        open_storage(file_url(tmp_path / "notes.db"))


@pytest.mark.parametrize(
    "name", ["q?1", "a#b", "50%", "100%25", "two words", "a&b=c", "{x}", "{", "100%?#{}", "süß", "file:x", "a@b:c"]
)
def test_a_study_is_in_its_own_folder_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    storage = open_storage(file_url(tmp_path / name / "study.db"))
    optuna.create_study(storage=storage, study_name="mine")
    assert (tmp_path / name / "study.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    again = open_storage(file_url(tmp_path / name / "study.db"))
    assert [study.study_name for study in again.get_all_studies()] == ["mine"]


def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    folder = tmp_path / "my photos @home 100%"
    folder.mkdir()
    open_storage(file_url(folder / "study.db"))
    assert (folder / "study.db").is_file()


def test_the_log_level_of_optuna_is_restored() -> None:
    before, alembic = optuna.logging.get_verbosity(), logging.getLogger("alembic").level
    with quiet_optuna():
        assert optuna.logging.get_verbosity() == optuna.logging.ERROR
    assert optuna.logging.get_verbosity() == before
    assert logging.getLogger("alembic").level == alembic


def test_other_objectives_or_choices_are_refused(tmp_path: Path) -> None:
    url = file_url(tmp_path / "shared.db")
    with new_store(tmp_path / "a", Random(), MIXED, storage=url) as store:
        propose(store)
        plan = store.study.plan
    check_storage(plan, "a")
    check_storage(plan.replace(objectives=(Objective("loss", "minimize"),)), "another name")
    with pytest.raises(
        BadValue, match=r"shared\.db a: that study optimizes accuracy \(maximized\)\. Pass the same, or"
    ):
        check_storage(plan.replace(objectives=(Objective("macro_f1", "maximize"),)), "a")
    with pytest.raises(BadValue, match="that study optimizes accuracy"):
        check_storage(plan.replace(objectives=(*plan.objectives, Objective("loss", "minimize"))), "a")
    more = Space((Dimension(name="optimizer", domain=Choice(values=("adamw", "sgd", "adam"))),))
    with pytest.raises(BadValue, match="that study varies optimizer over CategoricalDistribution"):
        check_storage(plan.replace(space=more), "a")
    wider = Space((Dimension(name="lr", domain=FloatRange(low=1e-6, high=1.0, log=True)),))
    check_storage(plan.replace(space=wider), "a")


def test_a_driver_that_quotes_parts_of_the_password_gives_none_away() -> None:
    url = "postgresql://anna:hunter@2two@host/db"
    cause = 'could not translate host name "2two@host" to address'
    with pytest.raises(StudyUnavailable) as caught, translate_storage_errors(url):
        raise OperationalError("select 1", None, Exception(cause))
    assert not {"hunter", "2two"} & set(re.split(r"[^\w]", str(caught.value)))
    assert "pass --storage URL again" not in str(caught.value)  # it has a password: that is not what is missing


def test_a_missing_password_is_asked_for() -> None:
    sentence = "A study keeps no password: pass --storage URL again"
    with pytest.raises(StudyUnavailable, match=sentence), translate_storage_errors("postgresql://anna@host/db"):
        raise OperationalError("select 1", None, Exception("no password supplied"))


def test_a_study_continues_with_its_storage_and_the_password_once_more() -> None:
    plan = plan_of("postgresql://anna@host/db")
    assert with_storage(plan, None).storage == "postgresql://anna@host/db"
    assert with_storage(plan, "postgresql://anna:pw@host/db").storage == "postgresql://anna:pw@host/db"
    for other in ("postgresql://anna:pw@other/db", "sqlite:///study.db"):
        with pytest.raises(BadChoice, match="a study continues in its own storage"):
            with_storage(plan, other)
    with pytest.raises(BadChoice, match=r"keeps its record in its own folder\. Leave --storage out"):
        with_storage(plan_of(""), "sqlite:///study.db")


def test_the_message_on_a_damaged_study_db_says_what_its_removal_costs(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database " * 400)
    with pytest.raises(
        StudyUnavailable, match=r"it is damaged .*Remove study\.db .*continue with --resume.*Lost is only"
    ):
        open_storage(file_url(tmp_path / "study.db"))
