"""Files of a trial: in a folder, or in S3 by boto3, which is imported on first use.

A file appears under its name when it is complete: a process that is killed leaves no half file behind, only a `.tmp`.
"""

from __future__ import annotations

import io
import os
import shutil
from abc import ABC, abstractmethod
from typing import Any, BinaryIO

from smdebug.exceptions import CorruptFile, SMDebugError

_LIST_PAGE = 1000


class OutputFile(ABC):
    """A file that is being written."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = stream.seek(0, os.SEEK_END)

    def write(self, data: bytes) -> tuple[int, int]:
        """Append `data`; returns its position and its length in bytes."""
        position = self.size
        self._stream.write(data)
        self.size += len(data)
        return position, len(data)

    @abstractmethod
    def close(self) -> None:
        """Complete the file."""


class FileStore(ABC):
    """Files under one folder or prefix. Names are relative, with slashes."""

    root: str

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Return True for a file that is there."""

    @abstractmethod
    def names(self, folder: str, after: str = "") -> list[str]:
        """Return the files below `folder` whose names sort behind `after`, sorted."""

    @abstractmethod
    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Return bytes of a file. Raises FileNotFoundError."""

    @abstractmethod
    def open_output(self, name: str, *, append: bool = False) -> OutputFile:
        """Begin a file; append: after the bytes that it has already."""

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file."""
        output = self.open_output(name)
        output.write(data)
        output.close()


class _LocalOutput(OutputFile):
    def __init__(self, path: str, append: bool) -> None:
        self._path, self._temporary = path, f"{path}.tmp"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if append and os.path.exists(path):
            shutil.copyfile(path, self._temporary)
            super().__init__(open(self._temporary, "r+b"))  # noqa: SIM115 - `close` closes it
        else:
            super().__init__(open(self._temporary, "wb"))  # noqa: SIM115 - `close` closes it

    def close(self) -> None:
        self._stream.close()
        os.replace(self._temporary, self._path)


class LocalFiles(FileStore):
    """Files of a folder."""

    def __init__(self, root: str) -> None:
        self.root = os.path.expanduser(root)

    def exists(self, name: str) -> bool:
        return os.path.exists(self._path(name))

    def names(self, folder: str, after: str = "") -> list[str]:
        found = []
        for path, _, files in os.walk(self._path(folder)):
            relative = os.path.relpath(path, self.root).replace(os.sep, "/")
            found += [f"{relative}/{file}" for file in files]
        return sorted(name for name in found if name > after and not name.endswith(".tmp"))

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        with open(self._path(name), "rb") as stream:
            stream.seek(start)
            return stream.read(-1 if length is None else length)

    def open_output(self, name: str, *, append: bool = False) -> OutputFile:
        return _LocalOutput(self._path(name), append)

    def _path(self, name: str) -> str:
        parts = name.split("/")
        if ".." in parts:  # names come from index files, too
            raise CorruptFile(f"{name}: the name leads out of {self.root}.")
        return os.path.join(self.root, *parts)


class _S3Output(OutputFile):
    def __init__(self, client: Any, bucket: str, key: str, content: bytes) -> None:
        self._buffer = io.BytesIO(content)
        self._client, self._bucket, self._key = client, bucket, key
        super().__init__(self._buffer)

    def close(self) -> None:
        self._client.put_object(Bucket=self._bucket, Key=self._key, Body=self._buffer.getvalue())


class S3Files(FileStore):
    """Objects under `s3://bucket/prefix`."""

    def __init__(self, root: str) -> None:
        self.root = root
        bucket, _, prefix = root[len("s3://") :].partition("/")
        if not bucket:
            raise SMDebugError(f"{root}: the bucket is missing. Use s3://bucket/prefix.")
        self._bucket, self._prefix = bucket, prefix.rstrip("/")
        self._client = s3_client()

    def exists(self, name: str) -> bool:
        key = self._key(name)
        page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=key, MaxKeys=1)
        return any(item["Key"] == key for item in page.get("Contents", []))

    def names(self, folder: str, after: str = "") -> list[str]:
        request: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._key(folder), "MaxKeys": _LIST_PAGE}
        if after:
            request["StartAfter"] = self._key(after)
        skipped = len(self._key(""))
        found: list[str] = []
        while True:
            page = self._client.list_objects_v2(**request)
            found += [item["Key"][skipped:] for item in page.get("Contents", [])]
            if not page.get("IsTruncated"):
                return sorted(found)
            request["ContinuationToken"] = page["NextContinuationToken"]

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        request: dict[str, Any] = {"Bucket": self._bucket, "Key": self._key(name)}
        if start or length is not None:
            request["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        try:
            body: bytes = self._client.get_object(**request)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            raise FileNotFoundError(f"s3://{self._bucket}/{request['Key']}") from None
        return body

    def open_output(self, name: str, *, append: bool = False) -> OutputFile:
        content = self.read(name) if append and self.exists(name) else b""
        return _S3Output(self._client, self._bucket, self._key(name), content)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


def s3_client() -> Any:
    """Return boto3's client of S3. Raises SMDebugError where boto3 is missing."""
    try:
        import boto3
    except ImportError:
        raise SMDebugError("s3:// paths need boto3. Install it: pip install boto3") from None
    return boto3.client("s3")


def is_s3(path: str) -> bool:
    return path.startswith("s3://")


def open_files(path: str) -> FileStore:
    """Return the files of a folder or of an s3:// path."""
    return S3Files(path) if is_s3(path) else LocalFiles(path)
