"""JobStore: specs and states of the jobs of a home, in SQLite, for the supervisor and any number of commands."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from clearsight.core.errors import BadData
from clearsight.core.files import disk_full_as_error
from clearsight.jobs.job import Job, JobSpec, JobState

_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
  name TEXT PRIMARY KEY, spec TEXT NOT NULL, generation INTEGER NOT NULL, target TEXT NOT NULL, state TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_BUSY_SECONDS = 30.0  # that a writer waits for another one


class JobStore:
    """Table of jobs in `folder`/jobs.sqlite. A commit is on the disk when a method returns; for one thread.

    Raises BadData for a file that is no such table, or of a later version.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # environments may hold secrets
        self._path = folder / "jobs.sqlite"
        self._connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            problem = f"it holds no table of jobs ({error})"
            raise BadData(str(self._path), problem, fix="Move the file away, or choose another home.") from None

    def _open(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # a state that was reported must outlive a power cut
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            connection.close()
            raise BadData(str(self._path), "a later version of clearsight wrote it", fix="Update clearsight.")
        with self._transaction():
            for statement in filter(str.strip, _TABLES.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={_VERSION}")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def version(self) -> int:
        """A number that changes whenever another connection has written."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    # Jobs

    def put(self, spec: JobSpec) -> int:
        """Add a job that is to run, or give a job another spec; return its generation."""
        with self._transaction():
            row = self._connection.execute("SELECT generation FROM jobs WHERE name=?", (spec.name,)).fetchone()
            generation = row[0] + 1 if row else 1
            values = (spec.name, json.dumps(spec.to_json()), generation, "running", json.dumps(JobState().to_json()))
            self._connection.execute(
                "INSERT INTO jobs VALUES (?, ?, ?, ?, ?) ON CONFLICT(name) DO UPDATE SET"
                " spec=excluded.spec, generation=excluded.generation, target=excluded.target",
                values,
            )
        return generation

    def set_target(self, name: str, target: Literal["running", "stopped", "removed"]) -> bool:
        """Ask the supervisor for something; return False where there is no such job."""
        with self._transaction():
            return self._connection.execute("UPDATE jobs SET target=? WHERE name=?", (target, name)).rowcount > 0

    def set_state(self, name: str, state: JobState) -> None:
        """Write the state of a job; for the supervisor alone."""
        with self._transaction():
            self._connection.execute("UPDATE jobs SET state=? WHERE name=?", (json.dumps(state.to_json()), name))

    def remove(self, name: str) -> None:
        """Forget a job; for the supervisor alone."""
        with self._transaction():
            self._connection.execute("DELETE FROM jobs WHERE name=? AND target='removed'", (name,))

    def job(self, name: str) -> Job | None:
        """Return a job; None where there is none of that name."""
        return next(iter(self._select("WHERE name=?", name)), None)

    def jobs(self) -> list[Job]:
        """Return all jobs, by name."""
        return list(self._select("ORDER BY name"))

    def _select(self, condition: str, *values: str) -> Iterator[Job]:
        query = f"SELECT spec, state, target, generation FROM jobs {condition}"
        for spec, state, target, generation in self._connection.execute(query, values).fetchall():
            yield Job(
                spec=JobSpec.from_json(json.loads(spec)),
                state=JobState.from_json(json.loads(state)),
                target=target,
                generation=generation,
            )

    # The supervisor

    @property
    def supervisor(self) -> Mapping[str, Any]:
        """`process_identity` of the supervisor that began last; {} before the first."""
        row = self._connection.execute("SELECT value FROM facts WHERE name='supervisor'").fetchone()
        return dict(json.loads(row[0])) if row else {}

    @supervisor.setter
    def supervisor(self, identity: Mapping[str, Any]) -> None:
        with self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO facts VALUES ('supervisor', ?)", (json.dumps(dict(identity)),)
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with disk_full_as_error(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
