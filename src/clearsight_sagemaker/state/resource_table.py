"""ResourceTable: every named thing of the service in one table of a database, for any number of processes."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from clearsight.core.errors import BadData

_BUSY_SECONDS = 30  # that a writer waits for another one
_METADATA = sql.MetaData()
_RESOURCES = sql.Table(
    "resources",
    _METADATA,
    sql.Column("id", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("kind", sql.String(64), nullable=False),
    sql.Column("name", sql.String(512), nullable=False),
    sql.Column("created", sql.Double, nullable=False),
    sql.Column("modified", sql.Double, nullable=False),
    sql.Column("status", sql.String(64), nullable=False),
    sql.Column("document", sql.Text, nullable=False),
    sql.Column("tags", sql.Text, nullable=False),
    sql.UniqueConstraint("kind", "name"),
    sql.Index("resources_by_time", "kind", "created"),
    sql.Index("resources_by_status", "kind", "status"),
)


class ResourceExists(Exception):
    """Raised for a name that a resource of the kind has already."""


class BadToken(Exception):
    """Raised for a token of a page that this table has not written."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A named thing. created, modified: seconds since 1970.  number: grows with every resource."""

    kind: str
    name: str
    status: str
    document: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0
    modified: float = 0.0
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class ResourceQuery:
    """Resources to be listed. Times are seconds since 1970, None for no bound; both bounds belong to the range.

    accepts: a last filter on what the other ones have found.
    """

    kind: str
    name_contains: str = ""
    status: str = ""
    created_after: float | None = None
    created_before: float | None = None
    modified_after: float | None = None
    modified_before: float | None = None
    sort_by: Literal["name", "created", "modified", "status"] = "created"
    descending: bool = False
    limit: int = 100
    token: str = ""
    accepts: Callable[[Resource], bool] | None = None


class ResourceTable:
    """Table of resources; for many threads and processes. A change is durable when a method returns.

    url: of SQLAlchemy. Raises BadData for a database that cannot be opened.
    """

    def __init__(self, url: str) -> None:
        try:
            self._engine = sql.create_engine(url)
            if self._engine.dialect.name == "sqlite":
                sql.event.listen(self._engine, "connect", _prepare_sqlite)
            _METADATA.create_all(self._engine)
        except (SQLAlchemyError, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise BadData(f"--state {_without_password(url)}", f"the database cannot be opened ({reason})") from None

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def add(self, resource: Resource) -> Resource:
        """Add a resource, created now unless it has a time; raises ResourceExists."""
        created = resource.created or time.time()
        added = replace(resource, created=created, modified=resource.modified or created)
        try:
            with self._writing() as connection:
                result = connection.execute(sql.insert(_RESOURCES).values(**_row_values(added)))
        except IntegrityError:
            raise ResourceExists(resource.name) from None
        [number] = result.inserted_primary_key or (0,)
        return replace(added, number=int(number))

    def get(self, kind: str, name: str) -> Resource | None:
        """Return a resource; None where there is none of that name."""
        with self._engine.connect() as connection:
            row = connection.execute(_selected(kind, name)).first()
        return _resource(row) if row is not None else None

    def change(self, kind: str, name: str, changed: Callable[[Resource], Resource]) -> Resource | None:
        """Replace a resource by what a function makes of it, in one transaction; return it, None where it is gone."""
        with self._writing() as connection:
            row = connection.execute(_selected(kind, name).with_for_update()).first()
            if row is None:
                return None
            before = _resource(row)
            after = changed(before)
            if after != before:
                statement = sql.update(_RESOURCES).where(_RESOURCES.c.id == before.number)
                connection.execute(statement.values(**_row_values(after)))
        return after

    def remove(self, kind: str, name: str) -> bool:
        """Remove a resource; return False where there is none."""
        statement = sql.delete(_RESOURCES).where(_RESOURCES.c.kind == kind, _RESOURCES.c.name == name)
        with self._writing() as connection:
            return connection.execute(statement).rowcount > 0

    def page(self, query: ResourceQuery) -> tuple[list[Resource], str]:
        """Return resources in order and the token of the next page, "" for the last. Raises BadToken."""
        found: list[Resource] = []
        position = _read_token(query.token) if query.token else None
        with self._engine.connect() as connection:
            while True:
                rows = connection.execute(_ordered(query, position).limit(query.limit + 1)).all()
                resources = [_resource(row) for row in rows[: query.limit]]
                for resource in resources:
                    position = (getattr(resource, query.sort_by), resource.number)
                    if query.accepts is None or query.accepts(resource):
                        found.append(resource)
                        if len(found) == query.limit:
                            is_last = resource is resources[-1] and len(rows) <= query.limit
                            return found, "" if is_last else _token(position)
                if len(rows) <= query.limit:
                    return found, ""

    def every(self, kind: str, *statuses: str) -> list[Resource]:
        """Return the resources of a kind in the order in which they were added. statuses: () for all."""
        statement = sql.select(_RESOURCES).where(_RESOURCES.c.kind == kind)
        if statuses:
            statement = statement.where(_RESOURCES.c.status.in_(statuses))
        with self._engine.connect() as connection:
            return [_resource(row) for row in connection.execute(statement.order_by(_RESOURCES.c.id))]

    def count(self, kind: str, *statuses: str) -> int:
        """Return how many resources of a kind have one of the statuses."""
        columns = _RESOURCES.c
        statement = sql.select(sql.func.count()).where(columns.kind == kind, columns.status.in_(statuses))
        with self._engine.connect() as connection:
            return int(connection.execute(statement).scalar_one())

    @contextmanager
    def _writing(self) -> Iterator[sql.Connection]:
        with self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                # At once and not at the first write: a reader that becomes a writer may be refused.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where this module says so
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={1000 * _BUSY_SECONDS}"):
        connection.execute(f"PRAGMA {pragma}")


def _selected(kind: str, name: str) -> sql.Select[Any]:
    return sql.select(_RESOURCES).where(_RESOURCES.c.kind == kind, _RESOURCES.c.name == name)


def _ordered(query: ResourceQuery, position: tuple[Any, int] | None) -> sql.Select[Any]:
    columns = _RESOURCES.c
    statement = sql.select(_RESOURCES).where(columns.kind == query.kind)
    if query.name_contains:
        statement = statement.where(columns.name.contains(query.name_contains, autoescape=True))
    if query.status:
        statement = statement.where(columns.status == query.status)
    for column, after, before in (
        (columns.created, query.created_after, query.created_before),
        (columns.modified, query.modified_after, query.modified_before),
    ):
        statement = statement if after is None else statement.where(column >= after)
        statement = statement if before is None else statement.where(column <= before)
    column = columns[query.sort_by]
    if position is not None:
        value, number = position
        later = (column < value, columns.id < number) if query.descending else (column > value, columns.id > number)
        statement = statement.where(sql.or_(later[0], sql.and_(column == value, later[1])))
    if query.descending:
        return statement.order_by(column.desc(), columns.id.desc())
    return statement.order_by(column, columns.id)


def _token(position: tuple[Any, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _read_token(token: str) -> tuple[Any, int]:
    try:
        value, number = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, binascii.Error):
        raise BadToken(token) from None
    if not isinstance(value, str | float | int) or not isinstance(number, int):
        raise BadToken(token)
    return value, number


def _row_values(resource: Resource) -> dict[str, Any]:
    return {
        **{name: getattr(resource, name) for name in ("kind", "name", "created", "modified", "status")},
        **{name: json.dumps(dict(getattr(resource, name))) for name in ("document", "tags")},
    }


def _resource(row: sql.Row[Any]) -> Resource:
    return Resource(
        **{name: getattr(row, name) for name in ("kind", "name", "created", "modified", "status")},
        **{name: json.loads(getattr(row, name)) for name in ("document", "tags")},
        number=row.id,
    )


def _without_password(url: str) -> str:
    before, at, after = url.rpartition("@")
    return f"{before.partition('://')[0]}://...@{after}" if at else url
