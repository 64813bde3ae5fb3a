"""Files that are either whole or absent: atomic writes, digests, and archives unpacked without trust."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from clearsight.core.errors import BadArchive, BadData, DiskFull, NotFound

_CHUNK = 1 << 20


@contextlib.contextmanager
def atomic(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """A temporary path beside `path` to write to; on success it is synced and renamed over `path`, else removed.

    A reader sees the old file or the new one, never a part. Raises DiskFull when the file system has no room.
    sync: without it the file survives a kill of the process but perhaps not a loss of power; far cheaper.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_as_error(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        part = Path(name)
        try:
            yield part
            if sync:
                _sync(part)
            part.chmod(0o644)  # mkstemp makes private files; these are results to share
            part.replace(path)
            if sync:
                _sync(path.parent)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_full_as_error(path: Path) -> Iterator[None]:
    """Within the block, an error of a file system without room becomes DiskFull on `path`."""
    try:
        yield
    except Exception as error:
        if _says_full(error):
            raise DiskFull(
                str(path), "no space is left on the device", fix="Free some space; what was there before is whole."
            ) from error
        raise


def _says_full(error: Exception) -> bool:
    # Libraries written in Rust (safetensors) wrap the system's error into one of their own and keep only its text.
    codes = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError):
        return error.errno in codes
    return any(f"(os error {code})" in str(error) for code in codes)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace the file at `path` with `data`, atomically."""
    with atomic(path) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` with `text` in UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Replace the file at `path` with `value` as indented JSON; NaN and infinity are refused (they are not JSON)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in the file at `path`; raises NotFound when there is no such file, BadData for a damaged one."""
    if not path.is_file():
        raise NotFound(str(path), "there is no such file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise BadData(str(path), "it is damaged: not JSON", fix="Restore it, or do without it and remove it.") from None


def sha256(path: Path) -> str:
    """Hex digest of the file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def unpack(archive: Path, folder: Path, *, max_bytes: int = 8 << 30, max_files: int = 200_000) -> None:
    """Unpack a zip or tar archive into the new or empty folder `folder`, distrusting it.

    Refuses members that are absolute, climb out with "..", are links or devices, and archives that hold more than
    `max_files` members or unpack to more than `max_bytes` (counted while writing, not believed from headers).
    Raises BadArchive, and then leaves no part of the archive behind.
    """
    try:
        with contextlib.ExitStack() as stack:
            written = 0
            for count, (name, stream) in enumerate(_members(archive, stack), start=1):
                if count > max_files:
                    raise BadArchive(str(archive), f"it holds more than {max_files} files")
                target = folder / _safe(archive, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as out:
                    while chunk := stream.read(_CHUNK):
                        written += len(chunk)
                        if written > max_bytes:
                            raise BadArchive(str(archive), f"it unpacks to more than {max_bytes} bytes")
                        out.write(chunk)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise BadArchive(str(archive), f"it cannot be read ({' '.join(str(error).split())})") from error
    except BadArchive:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _members(archive: Path, stack: contextlib.ExitStack) -> Iterator[tuple[str, IO[bytes]]]:
    if not archive.is_file():
        raise NotFound(str(archive), "there is no such file")
    if zipfile.is_zipfile(archive):
        packed = stack.enter_context(zipfile.ZipFile(archive))
        for info in packed.infolist():
            if info.is_dir():
                continue
            if stat.S_ISLNK(info.external_attr >> 16):
                raise BadArchive(str(archive), f"member {info.filename!r} is a link")
            with packed.open(info) as stream:
                yield info.filename, stream
        return
    tar = stack.enter_context(tarfile.open(archive))  # noqa: SIM115 - the stack closes it
    for member in tar:
        if member.isdir():
            continue
        taken = tar.extractfile(member) if member.isfile() else None
        if taken is None:
            raise BadArchive(str(archive), f"member {member.name!r} is a link or a device")
        yield member.name, taken


def _safe(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name:
        raise BadArchive(str(archive), f"member {name!r} would be written outside its folder")
    return path


_SEAL = 256  # bytes before the place that is read from, by which a rewritten file is known


class LineFollower:
    """A file of lines that grows while it is read; it need not be there yet.

    A last line without its end is left for the next look. A file that was cut short or written anew (a run that goes
    on drops the lines after its checkpoint) is read again from its start, and `restarts` counts that.
    """

    def __init__(self, path: Path, *, tail: int | None = None) -> None:
        """tail: of a file that is there already, only about so many of its last bytes are read; None for all."""
        self.path = path
        self.restarts = 0
        self.broken = 0  # whole lines that were no JSON: what a crash cut short and another process wrote behind
        self._tail = tail
        self._offset = 0
        self._seal = b""
        self._looked = False
        self._cut = False  # whether reading began within a line

    def lines(self) -> list[str]:
        """The whole lines that came since the last look, without their ends."""
        try:
            with self.path.open("rb") as stream:
                size = stream.seek(0, 2)
                if not self._same(stream, size):
                    self._start_again()
                self._skip(size)
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return self._gone()
        end = data.rfind(b"\n") + 1
        if not end:
            return []
        whole = data[:end]
        self._offset += end
        self._seal = (self._seal + whole)[-_SEAL:]
        told = whole.decode("utf-8", errors="replace").split("\n")[:-1]
        if self._cut:
            self._cut = False
            del told[0]
        return told

    def rows(self) -> list[dict[str, Any]]:
        """The same of a file of JSON lines, as objects."""
        told = []
        for line in filter(None, self.lines()):
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                row = None
            if isinstance(row, dict):
                told.append(row)
            else:
                self.broken += 1
        return told

    def _same(self, stream: BinaryIO, size: int) -> bool:
        """Whether what was read is still what stands before the place to read on from."""
        if size < self._offset:
            return False
        stream.seek(self._offset - len(self._seal))
        return bool(stream.read(len(self._seal)) == self._seal)

    def _skip(self, size: int) -> None:
        """Pass over all but the tail at the first look."""
        first, self._looked = not self._looked, True
        if first and self._tail is not None and size > self._tail:
            self._offset, self._cut = size - self._tail, True

    def _gone(self) -> list[str]:
        if self._offset:
            self._start_again()
        return []

    def _start_again(self) -> None:
        self.restarts += 1
        self._offset, self._seal, self._cut = 0, b"", False


def read_jsonl(path: Path) -> Iterable[dict[str, Any]]:
    """The objects of a JSON-lines file; a last line that a crash cut short is left out, nothing else is forgiven.

    Raises BadData with the number of a line that is damaged.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    whole, tail = lines[:-1], lines[-1]
    rows = [_parsed(path, number, line) for number, line in enumerate(whole, 1) if line]
    try:
        return [*rows, json.loads(tail)] if tail else rows
    except json.JSONDecodeError:
        return rows


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise BadData(str(path), f"line {number} is damaged", fix="Remove that line to read the rest.")
    return value
