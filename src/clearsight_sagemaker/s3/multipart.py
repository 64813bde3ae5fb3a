"""Uploads in parts: each part is a file of its own until the upload is complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from clearsight_sagemaker.s3.errors import S3Error, no_such_upload
from clearsight_sagemaker.s3.keys import PRIVATE, check_key
from clearsight_sagemaker.s3.store import Content, ObjectStore, StoredObject

_MOST_PARTS = 10_000
_LEAST_BYTES = 5 << 20  # of every part but the last


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of an upload. etag: without quotes.  modified: seconds since 1970."""

    number: int
    size: int
    etag: str
    modified: float
    checksums: Mapping[str, str]
    file: str


class Uploads:
    """Uploads in parts of a store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def create(self, bucket: str, key: str, content: Content) -> str:
        """Begin an upload; return its id."""
        self._store.check_bucket(bucket)
        upload = uuid.uuid4().hex
        self._folder(bucket, upload).mkdir(parents=True)
        self._store.rows(
            "INSERT INTO uploads VALUES (?, ?, ?, ?, ?)", upload, bucket, check_key(key), time.time(), content.to_text()
        )
        return upload

    def content(self, bucket: str, key: str, upload: str) -> Content:
        """Return what the object of an upload will say of itself; raises S3Error for one that is not there."""
        rows = self._store.rows(
            "SELECT content FROM uploads WHERE id = ? AND bucket = ? AND key = ?", upload, bucket, key
        )
        if not rows:
            raise no_such_upload(upload)
        return Content.from_text(rows[0][0])

    def listed(self, bucket: str) -> list[tuple[str, str, float]]:
        """Return (key, id, time of its beginning) of the uploads of a bucket."""
        self._store.check_bucket(bucket)
        return [
            (str(key), str(upload), float(started))
            for key, upload, started in self._store.rows(
                "SELECT key, id, started FROM uploads WHERE bucket = ? ORDER BY key, started", bucket
            )
        ]

    def put_part(
        self, upload_place: tuple[str, str, str], number: int, file: IO[bytes], etag: str, checksums: Mapping[str, str]
    ) -> None:
        """Take a written file for a part; it replaces an earlier one of its number.

        upload_place: bucket, key, id of the upload.
        """
        bucket, _, upload = upload_place
        if not 1 <= number <= _MOST_PARTS:
            raise S3Error("InvalidArgument", f"Part number must be an integer between 1 and {_MOST_PARTS}, inclusive")
        self.content(*upload_place)
        file.flush()
        os.fsync(file.fileno())
        name = uuid.uuid4().hex
        size = os.fstat(file.fileno()).st_size
        os.replace(file.name, self._folder(bucket, upload) / name)
        row = (upload, number, size, etag, time.time(), json.dumps(dict(checksums)), name)
        self._store.rows("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)", *row)

    def parts(self, bucket: str, key: str, upload: str) -> list[Part]:
        """Return the parts that have arrived, by number; raises S3Error."""
        self.content(bucket, key, upload)
        rows = self._store.rows(
            "SELECT number, size, etag, modified, checksums, file FROM parts WHERE upload = ? ORDER BY number", upload
        )
        return [
            Part(number=number, size=size, etag=etag, modified=modified, checksums=json.loads(checksums), file=file)
            for number, size, etag, modified, checksums, file in rows
        ]

    def complete(
        self, upload_place: tuple[str, str, str], chosen: Sequence[tuple[int, str]], condition: Mapping[str, str]
    ) -> StoredObject:
        """Join parts into the object. chosen: number and etag of each. Raises S3Error."""
        bucket, key, upload = upload_place
        content = self.content(*upload_place)
        present = {part.number: part for part in self.parts(*upload_place)}
        numbers = [number for number, _ in chosen]
        if not chosen:
            raise S3Error("MalformedXML", "The XML you provided was not well-formed")
        if numbers != sorted(set(numbers)):
            raise S3Error("InvalidPartOrder", "The list of parts was not in ascending order.")
        parts = []
        for number, etag in chosen:
            part = present.get(number)
            if part is None or part.etag != etag.strip('"'):
                text = "One or more of the specified parts could not be found."
                raise S3Error("InvalidPart", f"{text} The part may not have been uploaded, or its ETag differs.", key)
            parts.append(part)
        if any(part.size < _LEAST_BYTES for part in parts[:-1]):
            raise S3Error("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size", key)
        with self._store.new_file(bucket) as file:
            for part in parts:
                with (self._folder(bucket, upload) / part.file).open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            digests = b"".join(bytes.fromhex(part.etag) for part in parts)
            etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
            stored = self._store.put(bucket, key, file, content, etag, condition)
        self.abort(*upload_place)
        return stored

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """Remove an upload and its parts; raises S3Error for one that is not there."""
        self.content(bucket, key, upload)
        self._store.rows("DELETE FROM uploads WHERE id = ?", upload)
        self._store.rows("DELETE FROM parts WHERE upload = ?", upload)
        shutil.rmtree(self._folder(bucket, upload), ignore_errors=True)

    def _folder(self, bucket: str, upload: str) -> Path:
        return self._store.folder / bucket / PRIVATE / "uploads" / upload
