"""Opening a storage: the study's own SQLite file, or any that Optuna has a URL for."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage

from clearsight.core.errors import BadValue, StudyUnavailable

_PATIENCE = 20.0  # seconds to wait for whoever has a SQLite file locked
_PACKAGES = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
}  # where the module has another name


def open_storage(url: str) -> BaseStorage:
    """The storage behind a URL, its tables made where they are missing.

    SQLite is put into WAL mode, so that others read while one writes. Raises BadValue for what is no URL of a storage
    and where its driver is not installed, StudyUnavailable where nobody answers.
    """
    try:
        with storage_errors_as_ours(url), quiet_optuna():
            return _sqlite(url) if url.startswith("sqlite") else optuna.storages.get_storage(url)
    except ImportError as error:
        raise _no_driver(without_password(url), error) from None
    except ValueError:  # a port that is no number, a kind of storage that Optuna has given up
        raise _no_url(without_password(url)) from None


def file_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{path.resolve()}"


@contextmanager
def storage_errors_as_ours(url: str) -> Iterator[None]:
    """Within the block what a storage raises becomes one sentence."""
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

    shown = without_password(url)
    try:
        yield
    except (ArgumentError, NoSuchModuleError):
        raise _no_url(shown) from None
    except DBAPIError as error:
        raise _unavailable(shown, str(error.orig)) from error
    except SQLAlchemyError as error:
        raise _unavailable(shown, str(error)) from error
    except optuna.exceptions.StorageInternalError as error:
        raise _unavailable(shown, str(error.__cause__ or error)) from error


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Within the block Optuna says errors alone: neither each trial nor which of its parts drew which value."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    alembic = logging.getLogger("alembic")
    level = alembic.level
    alembic.setLevel(logging.ERROR)
    try:
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
        fix = "Leave --storage out, or name a file: sqlite:///study.db."
        raise BadValue(f"--storage {url}", "it names no file, and nothing would be kept", fix=fix)
    if not Path(path).parent.is_dir():
        raise StudyUnavailable(
            f"--storage {url}", "its folder does not exist", fix="Make it, or name a file in a folder that is there."
        )
    # A pool would keep connections of threads that are gone; opening a file costs nothing.
    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": _PATIENCE}, "poolclass": NullPool})

    @event.listens_for(storage.engine, "connect")
    def _tune(connection: Any, record: Any) -> None:
        # In WAL mode "normal" loses no more than the last moments with the power, and nothing with the process.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return storage


def _no_url(shown: str) -> BadValue:
    fix = "For example sqlite:///study.db or postgresql://user@host/database."
    return BadValue(f"--storage {shown}", "it is not the URL of a storage", fix=fix)


def _no_driver(shown: str, error: ImportError) -> BadValue:
    missing = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    driver = missing.name or "of its driver"
    package = _PACKAGES.get(driver, driver)
    return BadValue(
        f"--storage {shown}", f"it needs the package {package}", fix=f"Install it: pip install '{package}'."
    )


def _unavailable(shown: str, why: str) -> StudyUnavailable:
    first = " ".join(why.split())[:200]
    locked = "locked" in first
    problem = "somebody else has it locked" if locked else f"it does not answer ({first})"
    fix = "End what writes to it, then go on with --resume." if locked else "Look whether it is there and may be read."
    return StudyUnavailable(f"--storage {shown}", problem, fix=fix)


def without_password(url: str) -> str:
    """The URL as it may stand in a message."""
    url = re.sub(r"([?&]password=)[^&#]*", r"\1...", url)
    head, at, tail = url.rpartition("@")
    scheme, slashes, user = head.partition("://")
    return f"{scheme}{slashes}{user.partition(':')[0]}@{tail}" if at and slashes else url
