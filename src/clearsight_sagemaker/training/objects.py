"""JobObjects: objects that a job reads and writes, by their s3:// addresses."""

from __future__ import annotations

import hashlib
import mimetypes
import re
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Protocol

from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.s3.store import Content, ObjectStore, StoredObject
from clearsight_sagemaker.training.failure import client_error

_URI = re.compile(r"s3://([^/]+)/?(.*)", re.DOTALL)
_PAGE = 1000
STORE_ERRORS = (S3Error, sqlite3.Error, OSError)  # that writing an object may raise
_CHUNK = 1 << 20


class Writable(Protocol):
    """File that can be written to from its start to its end."""

    def write(self, data: bytes, /) -> int:
        """Write bytes; return their number."""
        ...


class ListedObject(Protocol):
    """Object of a listing. size: bytes."""

    @property
    def key(self) -> str:
        """Key in its bucket."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...


class Objects(Protocol):
    """Objects that a job reads and writes; used by several threads. Each method may raise S3Error and OSError."""

    def close(self) -> None:
        """Close the store."""
        ...

    def keys(self, uri: str, /) -> Iterator[ListedObject]:
        """Yield all objects whose key begins with that of an address."""
        ...

    def opened(self, uri: str, /) -> AbstractContextManager[tuple[Path, IO[bytes]]]:
        """Yield path and file of an object."""
        ...

    def check_bucket(self, uri: str, /) -> None:
        """Raise S3Error unless the bucket of an address exists."""
        ...

    def content_type(self, uri: str, /) -> str:
        """Return the content type of an object, "" where it has none."""
        ...

    def writing(self, uri: str, kind: str = "", /) -> AbstractContextManager[Writable]:
        """Yield a file whose bytes become an object after the block; after an error nothing is changed.

        kind: content type, "" for that of the name.
        """
        ...

    def upload(self, path: Path, uri: str, /) -> None:
        """Make an object of a file."""
        ...


class JobObjects:
    """Objects of the store in `folder`; used by several threads."""

    def __init__(self, folder: Path) -> None:
        self.store = ObjectStore(folder)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def keys(self, uri: str) -> Iterator[StoredObject]:
        """Yield all objects whose key begins with that of an address. Raises S3Error."""
        bucket, prefix = split_uri(uri)
        last = ""
        while page := self.store.after(bucket, prefix, last, _PAGE):
            yield from page
            last = page[-1].key

    @contextmanager
    def opened(self, uri: str) -> Iterator[tuple[Path, IO[bytes]]]:
        """Yield path and file of an object. The file at the path may be replaced meanwhile. Raises S3Error."""
        bucket, key = split_uri(uri)
        with self.store.opened(bucket, key) as (stored, file):
            yield self.store.folder / bucket / stored.path, file

    def check_bucket(self, uri: str) -> None:
        """Raise S3Error unless the bucket of an address exists."""
        self.store.check_bucket(split_uri(uri)[0])

    def content_type(self, uri: str) -> str:
        """Return the content type of an object, "" where it has none. Raises S3Error."""
        return self.store.head(*split_uri(uri)).content.headers.get("content-type", "")

    @contextmanager
    def writing(self, uri: str, kind: str = "") -> Iterator[Writable]:
        """Yield a file whose bytes become an object after the block; after an error nothing is changed.

        kind: content type, "" for that of the name.
        """
        bucket, key = split_uri(uri)
        kind = kind or content_type_of(key)
        with self.store.new_file(bucket) as file:
            target = _DigestFile(file)
            yield target
            self.store.put(bucket, key, file, Content(headers={"content-type": kind}), target.digest, {})

    def upload(self, path: Path, uri: str) -> None:
        """Make an object of a file. Raises S3Error, OSError."""
        with path.open("rb") as source, self.writing(uri) as target:
            while chunk := source.read(_CHUNK):
                target.write(chunk)


class _DigestFile:
    """File that computes the digest of what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._md5 = file, hashlib.md5(usedforsecurity=False)

    def write(self, data: bytes, /) -> int:
        self._md5.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def digest(self) -> str:
        return self._md5.hexdigest()


def content_type_of(key: str) -> str:
    """Return the content type of a key by its ending."""
    return mimetypes.guess_type(key)[0] or "binary/octet-stream"


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of an s3:// address. Raises JobFailed for another."""
    found = _URI.fullmatch(uri)
    if found is None:
        raise client_error(f"{uri}: must be an address s3://BUCKET/KEY.")
    return found[1], found[2]


def join_uri(uri: str, *parts: str) -> str:
    """Return an address with more parts, with exactly one slash between them."""
    return "/".join([uri.rstrip("/"), *parts])
