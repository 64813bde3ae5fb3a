"""Optuna storages: the study's own SQLite file, or any storage that Optuna has a URL for."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection

from clearsight.core.errors import BadChoice, BadValue, StudyUnavailable
from clearsight.core.secrets import hide, redact, without_secrets
from clearsight.core.study import StudyPlan
from clearsight.core.trial import Objective
from clearsight.tuning.storage.conversion import distribution_of

DATABASE = "study.db"  # in the folder of a study without a storage of its own
_PATIENCE = 20.0  # seconds to wait for another process that has locked a SQLite file
_PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # module -> package


def open_storage(url: str) -> BaseStorage:
    """Open the storage at a URL; its tables are created if they are missing.

    SQLite is put into WAL mode, so that others can read while one process writes. Raises BadValue for a URL that is not
    a storage's, or whose driver is not installed; StudyUnavailable if nothing answers.
    """
    try:
        with translate_storage_errors(url), quiet_optuna():
            return _sqlite(url) if url.startswith("sqlite") else optuna.storages.get_storage(url)
    except ImportError as error:
        raise _no_driver(redact(url), error) from None
    except ValueError:  # a port that is not a number, or a kind of storage that Optuna has dropped
        raise _not_a_url(redact(url)) from None


def file_url(path: Path) -> str:
    """Return the URL of a SQLite file, whatever characters its path has."""
    from sqlalchemy.engine import URL

    # Not by hand: "?" begins the options of a URL, "%" a quoted character, and Optuna fills in what is between braces.
    return URL.create("sqlite", database=str(path.resolve())).render_as_string()


def check_storage(plan: StudyPlan, name: str) -> None:
    """Raise the error that keeps the plan from using its storage.

    StudyUnavailable if the storage does not answer; BadValue if it holds a study of that name with other objectives or
    other choices.
    """
    with translate_storage_errors(plan.storage), quiet_optuna():
        storage = open_storage(plan.storage)
        if name not in (study.study_name for study in storage.get_all_studies()):
            return
        stored = optuna.load_study(study_name=name, storage=storage)
        subject = f"{redact(plan.storage)} {stored.study_name}"
        fix = "Pass the same, or start another study with --name."
        names = stored.metric_names or [""] * len(stored.directions)  # a study of another program need not name them
        existing = [
            Objective(name, "minimize" if way is StudyDirection.MINIMIZE else "maximize")
            for name, way in zip(names, stored.directions, strict=True)
        ]
        planned = [Objective(o.metric if stored.metric_names else "", o.direction) for o in plan.objectives]
        if existing != planned:
            listed = ", ".join(
                f"{objective.metric or 'an objective'} ({objective.direction}d)" for objective in existing
            )
            raise BadValue(subject, f"that study optimizes {listed}", fix=fix)
        # Optuna itself refuses other choices only at the next proposal, by an error that names no study and no remedy.
        domains = {dimension.name: distribution_of(dimension.domain) for dimension in plan.space.dimensions}
        for trial in stored.get_trials(deepcopy=False):
            for name in domains.keys() & trial.distributions.keys():
                before = trial.distributions[name]
                try:  # ranges may differ, choices may not
                    optuna.distributions.check_distribution_compatibility(before, domains[name])
                except ValueError:
                    raise BadValue(subject, f"that study varies {name} over {before}", fix=fix) from None


def with_storage(plan: StudyPlan, given: str | None) -> StudyPlan:
    """Return the plan of a saved study with the URL of its storage as it was given again, password included.

    given: None if it was not given. Raises BadChoice for another storage than that of the study.
    """
    if given is None:
        return plan
    stored = without_secrets(plan.storage)
    if without_secrets(given) != stored:
        problem = "a study continues in its own storage" if stored else "the study keeps its record in its own folder"
        fix = f"Pass --storage {stored} with its password." if stored else "Leave --storage out."
        raise BadChoice(f"--storage {redact(given)}", problem, fix=fix)
    return plan.replace(storage=given)


@contextmanager
def translate_storage_errors(url: str) -> Iterator[None]:
    """Turn errors of a storage within the block into BadValue or StudyUnavailable."""
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

    shown = redact(url)
    try:
        yield
    except (ArgumentError, NoSuchModuleError):
        raise _not_a_url(shown) from None
    # The text of a driver may quote what it took for the host or the options, so parts of a password too.
    except DBAPIError as error:
        raise _unavailable(shown, hide(str(error.orig), url)) from error
    except SQLAlchemyError as error:
        raise _unavailable(shown, hide(str(error), url)) from error
    except optuna.exceptions.StorageInternalError as error:
        raise _unavailable(shown, hide(str(error.__cause__ or error), url)) from error


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Let Optuna log errors alone within the block, neither each trial nor each independent draw.

    Nor does it warn of experimental parts: the user has not chosen them.
    """
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    alembic = logging.getLogger("alembic")  # reports each migration of the tables
    level = alembic.level
    alembic.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
        alembic.setLevel(level)


def _sqlite(url: str) -> RDBStorage:
    from sqlalchemy import event
    from sqlalchemy.engine import make_url
    from sqlalchemy.pool import NullPool

    path = make_url(url).database
    if not path or path == ":memory:":
        fix = "Remove --storage, or name a file: sqlite:///study.db."
        raise BadValue(f"--storage {redact(url)}", "it names no file, so the study would be lost", fix=fix)
    if not Path(path).parent.is_dir():
        raise StudyUnavailable(
            f"--storage {redact(url)}",
            "its folder does not exist",
            fix="Create it, or name a file in an existing folder.",
        )
    # A pool would keep connections of threads that have ended; opening a file costs nothing.
    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": _PATIENCE}, "poolclass": NullPool})

    @event.listens_for(storage.engine, "connect")
    def _tune(connection: Any, record: Any) -> None:
        # In WAL mode "normal" may lose the last moments when the power fails, and nothing when the process is killed.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return storage


def _not_a_url(shown: str) -> BadValue:
    fix = "For example sqlite:///study.db or postgresql://user@host/database."
    return BadValue(f"--storage {shown}", "not the URL of a storage", fix=fix)


def _no_driver(shown: str, error: ImportError) -> BadValue:
    missing = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    driver = missing.name or "of its driver"
    package = _PACKAGES.get(driver, driver)
    return BadValue(f"--storage {shown}", f"needs the package {package}", fix=f"Install it: pip install '{package}'.")


def _unavailable(shown: str, cause: str) -> StudyUnavailable:
    first = " ".join(cause.split())[:200]
    if "locked" in first:
        fix = "End the process that writes to it, then continue with --resume."
        return StudyUnavailable(f"--storage {shown}", "another process has locked it", fix=fix)
    if DATABASE in shown and any(word in first for word in ("not a database", "malformed")):
        fix = (
            f"Remove {DATABASE} (and {DATABASE}-wal, {DATABASE}-shm), then continue with --resume: the results are in "
            "the folders of the trials and are entered again. Lost is only what other programs noted in it."
        )
        return StudyUnavailable(f"--storage {shown}", f"it is damaged ({first})", fix=fix)
    fix = "Check that it exists and that you may read it."
    if re.search(r"://[^/:@]+@", shown):  # a user without a password, as in the study.json of one that had a password
        fix += " A study keeps no password: pass --storage URL again, or use the password file of the database."
    return StudyUnavailable(f"--storage {shown}", f"it does not answer ({first})", fix=fix)
