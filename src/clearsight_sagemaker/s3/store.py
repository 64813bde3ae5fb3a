"""ObjectStore: buckets as folders, objects as files, and a table of what files do not say.

An object is written beside its place, made durable, and renamed. The table has a row for a key and the inode of its
file; the row of a new file is there before the file takes its place, and that of the old one goes afterwards, so that
whatever is at the place has its metadata, also after a kill at any moment. A file that somebody else has put into a
bucket has no row: its metadata are made from its content.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from clearsight_sagemaker.s3.errors import S3Error, no_such_bucket, no_such_key
from clearsight_sagemaker.s3.keys import PRIVATE, check_bucket, check_key, hidden_path, plain_path
from clearsight_sagemaker.s3.store_lock import StoreLock, lock_file

_TABLES = """
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS websites (bucket TEXT PRIMARY KEY, configuration BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key TEXT NOT NULL, inode INTEGER NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL,
    modified REAL NOT NULL, etag TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (bucket, key, inode)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, started REAL NOT NULL, content TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, modified REAL NOT NULL,
    checksums TEXT NOT NULL, file TEXT NOT NULL, PRIMARY KEY (upload, number)
);
"""
_COLUMNS = "key, inode, path, size, modified, etag, content"


@dataclass(frozen=True, kw_only=True)
class Content:
    """Description that comes with an object. headers: Content-Type and its like.  metadata: of the user."""

    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)

    def to_text(self) -> str:
        """Return the content as JSON."""
        return json.dumps({name: dict(getattr(self, name)) for name in ("headers", "metadata", "tags", "checksums")})

    @classmethod
    def from_text(cls, text: str) -> Content:
        """Return the content that `to_text` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object. modified: seconds since 1970.  etag: without quotes."""

    key: str
    path: str
    inode: int
    size: int
    modified: float
    etag: str
    content: Content


class ObjectStore:
    """Buckets in a folder; used by many threads of several processes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._database = sqlite3.connect(
            folder / "objects.sqlite", check_same_thread=False, isolation_level=None, timeout=60
        )
        self._database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + _TABLES)
        self._lock = StoreLock(folder / "objects.lock")  # for the table, and for renames, which belong to it
        self._rows_lock = threading.Lock()
        self._drop_what_was_cut_short()

    def close(self) -> None:
        """Close the table."""
        self._database.close()
        self._lock.close()

    # Buckets

    def create_bucket(self, name: str) -> None:
        """Create a bucket; raises S3Error for one that exists."""
        with self._lock:
            if self.rows("SELECT 1 FROM buckets WHERE name = ?", check_bucket(name)):
                text = "Your previous request to create the named bucket succeeded and you already own it."
                raise S3Error("BucketAlreadyOwnedByYou", text, name)
            (self.folder / name / PRIVATE / "new").mkdir(parents=True, exist_ok=True)
            self.rows("INSERT INTO buckets VALUES (?, ?)", name, time.time())

    def buckets(self) -> list[tuple[str, float]]:
        """Return names and times of creation."""
        return [(str(name), float(created)) for name, created in self.rows("SELECT * FROM buckets ORDER BY name")]

    def check_bucket(self, name: str) -> None:
        """Raise S3Error unless there is such a bucket."""
        if not self.rows("SELECT 1 FROM buckets WHERE name = ?", name):
            raise no_such_bucket(name)

    def website(self, bucket: str) -> bytes:
        """Return the website configuration of a bucket, XML as it was sent; raises S3Error where there is none."""
        self.check_bucket(bucket)
        rows = self.rows("SELECT configuration FROM websites WHERE bucket = ?", bucket)
        if not rows:
            text = "The specified bucket does not have a website configuration"
            raise S3Error("NoSuchWebsiteConfiguration", text, bucket)
        return bytes(rows[0][0])

    def set_website(self, bucket: str, configuration: bytes) -> None:
        """Store the website configuration of a bucket, b"" for none; raises S3Error."""
        with self._lock:
            self.check_bucket(bucket)
            self.rows("DELETE FROM websites WHERE bucket = ?", bucket)
            if configuration:
                self.rows("INSERT INTO websites VALUES (?, ?)", bucket, configuration)

    def delete_bucket(self, name: str) -> None:
        """Delete an empty bucket; raises S3Error."""
        with self._lock:
            self.check_bucket(name)
            if self.rows("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", name):
                raise S3Error("BucketNotEmpty", "The bucket you tried to delete is not empty", name)
            self.rows("DELETE FROM uploads WHERE bucket = ?", name)
            self.rows("DELETE FROM websites WHERE bucket = ?", name)
            self.rows("DELETE FROM buckets WHERE name = ?", name)
            shutil.rmtree(self.folder / name, ignore_errors=True)

    # Objects

    @contextmanager
    def new_file(self, bucket: str) -> Iterator[IO[bytes]]:
        """Yield a file for the bytes of an object, to be given to `put`; what is not given is removed."""
        self.check_bucket(bucket)
        path = self.folder / bucket / PRIVATE / "new" / uuid.uuid4().hex
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._lock:
                file = path.open("w+b")
                lock_file(file)  # until it is closed; the system releases the lock of a process that is killed
            with file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def put(
        self, bucket: str, key: str, file: IO[bytes], content: Content, etag: str, condition: Mapping[str, str]
    ) -> StoredObject:
        """Put a written file in the place of an object, durably.

        condition: headers If-Match and If-None-Match. Raises S3Error for one that does not hold.
        """
        check_key(key)
        file.flush()
        os.fsync(file.fileno())
        status = os.fstat(file.fileno())
        with self._lock:
            self.check_bucket(bucket)
            before = self._find(bucket, key)
            _check_condition(before, condition, key)
            path = before.path if before is not None else self._place(bucket, key)
            target = self.folder / bucket / path
            target.parent.mkdir(parents=True, exist_ok=True)
            row = (key, status.st_ino, path, status.st_size, time.time(), etag, content.to_text())
            self.rows("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)", bucket, *row)
            os.replace(file.name, target)
            _sync_folder(target.parent)
            self.rows("DELETE FROM objects WHERE bucket = ? AND key = ? AND inode != ?", bucket, key, status.st_ino)
        return _stored(row)

    @contextmanager
    def opened(self, bucket: str, key: str) -> Iterator[tuple[StoredObject, IO[bytes]]]:
        """Yield an object and its file, which stays as it is while others write; raises S3Error."""
        with self._lock:
            found = self.head(bucket, key)
            file = (self.folder / bucket / found.path).open("rb")
        with file:
            yield found, file

    def head(self, bucket: str, key: str) -> StoredObject:
        """Return an object; raises S3Error."""
        with self._lock:
            self.check_bucket(bucket)
            found = self._find(bucket, key)
        if found is None:
            raise no_such_key(key)
        return found

    def change(self, bucket: str, found: StoredObject, content: Content) -> None:
        """Give an object other metadata or tags."""
        self.rows(
            "UPDATE objects SET content = ? WHERE bucket = ? AND key = ? AND inode = ?",
            *(content.to_text(), bucket, found.key, found.inode),
        )

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object; one that is not there is no error."""
        with self._lock:
            self.check_bucket(bucket)
            found = self._find(bucket, key)
            if found is None:
                return
            path = self.folder / bucket / found.path
            path.unlink(missing_ok=True)
            _sync_folder(path.parent)
            self.rows("DELETE FROM objects WHERE bucket = ? AND key = ?", bucket, key)
            for folder in path.parents:  # empty folders are no prefixes
                if folder == self.folder / bucket or next(folder.iterdir(), None) is not None:
                    break
                folder.rmdir()

    def after(self, bucket: str, prefix: str, key: str, limit: int) -> list[StoredObject]:
        """Return objects with a prefix whose keys come after one in the order of their UTF-8 bytes."""
        self.check_bucket(bucket)
        compare = ">=" if key < prefix else ">"
        start = max(prefix, key)
        rows = self.rows(
            f"SELECT {_COLUMNS} FROM objects WHERE bucket = ? AND key {compare} ? AND key < ? "
            "GROUP BY key HAVING modified = MAX(modified) ORDER BY key LIMIT ?",
            *(bucket, start, prefix + "\U0010ffff" if prefix else "\U0010ffff\U0010ffff", limit),
        )
        return [_stored(row) for row in rows]

    # Parts

    def _find(self, bucket: str, key: str) -> StoredObject | None:
        rows = self.rows(f"SELECT {_COLUMNS} FROM objects WHERE bucket = ? AND key = ?", bucket, key)
        for row in rows:
            found = _stored(row)
            try:
                if (self.folder / bucket / found.path).stat().st_ino == found.inode:
                    return found
            except OSError:
                continue
        path = plain_path(key)
        if not rows and path and (self.folder / bucket / path).is_file():
            return self._adopt(bucket, key, path)
        return None

    def _adopt(self, bucket: str, key: str, path: str) -> StoredObject:
        """Take a file that somebody has put into the bucket for an object."""
        file = self.folder / bucket / path
        status = file.stat()
        with file.open("rb") as opened:
            etag = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        kind = mimetypes.guess_type(file.name)[0] or "binary/octet-stream"
        content = Content(headers={"content-type": kind}).to_text()
        row = (key, status.st_ino, path, status.st_size, status.st_mtime, etag, content)
        self.rows("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)", bucket, *row)
        return _stored(row)

    def _place(self, bucket: str, key: str) -> str:
        """Return the path for a new object: its key, unless something else is in the way."""
        path = plain_path(key)
        if not path or (self.folder / bucket / path).exists():
            return hidden_path(key)
        parents = [self.folder / bucket / parent for parent in Path(path).parents if str(parent) != "."]
        return hidden_path(key) if any(parent.exists() and not parent.is_dir() for parent in parents) else path

    def _drop_what_was_cut_short(self) -> None:
        """Remove the new files of processes that were killed; those of processes that work are locked."""
        with self._lock:
            for bucket, _ in self.buckets():
                for path in (self.folder / bucket / PRIVATE / "new").glob("*"):
                    with suppress(FileNotFoundError), path.open("rb") as file:
                        if lock_file(file):
                            path.unlink()

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement on the tables and return its rows."""
        with self._rows_lock:
            return self._database.execute(statement, values).fetchall()


def _stored(row: tuple[Any, ...]) -> StoredObject:
    key, inode, path, size, modified, etag, content = row
    return StoredObject(
        key=key, inode=inode, path=path, size=size, modified=modified, etag=etag, content=Content.from_text(content)
    )


def _check_condition(before: StoredObject | None, condition: Mapping[str, str], key: str) -> None:
    match, none_match = condition.get("if-match"), condition.get("if-none-match")
    if match is not None and before is None:
        raise no_such_key(key)
    wrong = match is not None and before is not None and match.strip('"') not in ("*", before.etag)
    if wrong or (none_match is not None and before is not None and none_match.strip('"') in ("*", before.etag)):
        text = "At least one of the pre-conditions you specified did not hold"
        raise S3Error("PreconditionFailed", text, key)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
