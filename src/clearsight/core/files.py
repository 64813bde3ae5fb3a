"""Files that are whole or absent: atomic writes, JSON, JSON lines, digests, and archives that are not trusted."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import lzma
import math
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from clearsight.core.errors import BadArchive, BadData, DiskFull, NotFound
from clearsight.core.format import encodable
from clearsight.core.part_files import part_file

# What zipfile, tarfile and the decompressors raise for damaged archives; RuntimeError for members with a password or an
# unknown compression.
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error),
    *(EOFError, OSError, ValueError, RuntimeError),
)
_CHUNK = 1 << 20  # bytes in memory while unpacking
_LARGEST_JSON = 256 << 20  # bytes: values take several times the memory of their text
_SEAL = 256  # bytes before the read position by which a rewritten file is recognised


@contextlib.contextmanager
def atomic(path: Path, *, sync: bool = True, private: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed over `path`, else removed.

    A reader sees the old file or the new one, never a part. Raises DiskFull when the file system has no room.
    sync: False is much cheaper; the file then survives a kill of the process, but perhaps not a loss of power.
    private: True for a file that its owner alone may read (mode 0600).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A part in the same folder: renaming across disks is not atomic.
    with disk_full_as_error(path), part_file(path) as part:
        yield part
        if sync:
            _sync(part)
        part.chmod(0o600 if private else 0o644)  # temporary files are private; most are results to share
        part.replace(path)
        if sync:
            _sync(path.parent)  # the new name is stored in the folder


@contextlib.contextmanager
def disk_full_as_error(path: Path) -> Iterator[None]:
    """Turn the error of a full file system within the block into DiskFull on `path`."""
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
    if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return True
    return any(f"(os error {code})" in str(error) for code in codes)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes, *, private: bool = False) -> None:
    """Replace the file at `path` with `data`, atomically. private: its owner alone may read it."""
    with atomic(path, private=private) as part:
        part.write_bytes(data)


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Replace the file at `path` with `text` in UTF-8, atomically; "?" for a byte of a file name that is not UTF-8.

    private: its owner alone may read it.
    """
    write_bytes(path, text.encode(errors="replace"), private=private)


def write_json(path: Path, value: object) -> None:
    """Replace the file at `path` with `value` as indented JSON; NaN and infinity are refused (they are not JSON)."""
    write_text(path, json_text(value) + "\n")


def json_text(value: object, encoding: str = "utf-8") -> str:
    """Return `value` as indented JSON, with escapes where the encoding lacks a character: `json.loads` restores it.

    File names that are not valid UTF-8 have such characters in every encoding.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return text if encodable(text, encoding) else json.dumps(value, indent=2, allow_nan=False)


def read_json(path: Path) -> Any:
    """Return the JSON value in the file at `path`; raises NotFound without the file, BadData for a damaged one."""
    if not path.is_file():
        raise NotFound(str(path), "there is no such file")
    if path.stat().st_size > _LARGEST_JSON:
        raise BadData(str(path), f"it is larger than {_LARGEST_JSON >> 20} MiB", fix="Restore it, or remove it.")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # an editor may have written a byte order mark
    except (ValueError, RecursionError):  # not JSON, a number of thousands of digits, or too many brackets
        raise BadData(str(path), "it is damaged: not JSON", fix="Restore it, or remove it.") from None


def finite_json(value: Any) -> Any:
    """Return JSON values in which NaN and infinity are None; the one rule for numbers that JSON cannot express."""
    if isinstance(value, float):  # numpy's float64 is one too
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(inner) for inner in value]
    return value


def read_jsonl(path: Path) -> Iterable[dict[str, Any]]:
    """Return the objects of a JSON-lines file; a last line that a crash cut short is left out.

    Raises BadData with the line number where any other line is damaged.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")  # a cut character spoils one line only
    rows = [(number, _json_object(line)) for number, line in enumerate(lines, 1) if line]
    damaged = [number for number, row in rows if row is None and number < len(lines)]
    if damaged:
        raise BadData(str(path), f"line {damaged[0]} is damaged", fix="Remove that line to read the rest.")
    return [row for _, row in rows if row is not None]


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class LineFollower:
    """Reads the lines that another process appends to a file, each line once; the file need not exist yet.

    A last line without its newline is left for the next call. A file that became shorter or was rewritten (a resumed
    run drops the lines after its checkpoint) is read again from its start, and `restarts` counts that.
    """

    def __init__(self, path: Path, *, tail: int | None = None) -> None:
        """tail: read only about this many of the last bytes of a file that exists already; None reads all."""
        self.path = path
        self.restarts = 0
        self.broken = 0  # lines that were not JSON: a crash cut one short and another process appended to it
        self._tail = tail
        self._offset = 0
        self._seal = b""
        self._cut = False  # True when reading began within a line

    def lines(self) -> list[str]:
        """Return the lines that were appended since the last call, without their newlines."""
        try:
            with self.path.open("rb") as stream:
                size = stream.seek(0, 2)
                if not self._same(stream, size):
                    self._start_again()
                if self._tail is not None and size > self._tail:
                    self._offset, self._cut = size - self._tail, True
                self._tail = None  # at the first call alone
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            if self._offset:
                self._start_again()
            return []
        # Bytes up to the last newline: text decoded at any place could cut a character in two.
        end = data.rfind(b"\n") + 1
        if not end:
            return []
        whole = data[:end]
        self._offset += end
        self._seal = (self._seal + whole)[-_SEAL:]
        lines = whole.decode("utf-8", errors="replace").split("\n")[:-1]
        if self._cut:
            self._cut = False
            del lines[0]  # the rest of a line that began before the tail
        return lines

    def rows(self) -> list[dict[str, Any]]:
        """Return the appended lines of a JSON-lines file as objects."""
        rows = [_json_object(line) for line in self.lines() if line]
        whole = [row for row in rows if row is not None]
        self.broken += len(rows) - len(whole)
        return whole

    def _same(self, stream: BinaryIO, size: int) -> bool:
        """Return True when the bytes before the read position are still those that were read."""
        if size < self._offset:
            return False
        stream.seek(self._offset - len(self._seal))
        return bool(stream.read(len(self._seal)) == self._seal)

    def _start_again(self) -> None:
        self.restarts += 1
        self._offset, self._seal, self._cut = 0, b"", False


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex, read in pieces."""
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
    except (BadArchive, *_DAMAGE) as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, BadArchive):
            raise
        if _says_full(error):
            raise DiskFull(str(folder), "no space is left on the device", fix="Free some space.") from error
        raise BadArchive(str(archive), f"it cannot be read ({' '.join(str(error).split())})") from error


def _members(archive: Path, stack: contextlib.ExitStack) -> Iterator[tuple[str, IO[bytes]]]:
    if not archive.is_file():
        raise NotFound(str(archive), "there is no such file")
    if zipfile.is_zipfile(archive):
        packed = stack.enter_context(zipfile.ZipFile(archive))
        for info in packed.infolist():
            if info.is_dir():
                continue
            if stat.S_ISLNK(info.external_attr >> 16):  # the upper half is the Unix mode
                raise BadArchive(str(archive), f"member {info.filename!r} is a link")
            if info.flag_bits & 1:  # bit 0: encrypted
                raise BadArchive(
                    str(archive), f"member {info.filename!r} is encrypted", fix="Pack it without a password."
                )
            with packed.open(info) as stream:
                yield info.filename, stream
        return
    try:
        tar = stack.enter_context(tarfile.open(archive))  # noqa: SIM115 - the stack closes it
    except tarfile.ReadError:  # its text is the error of each of four ways to read it
        raise BadArchive(str(archive), "it is neither a zip nor a tar archive, or it is cut short") from None
    for member in tar:
        if member.isdir():
            continue
        content = tar.extractfile(member) if member.isfile() else None
        if content is None:
            raise BadArchive(str(archive), f"member {member.name!r} is a link or a device")
        yield member.name, content


def _safe(archive: Path, name: str) -> PurePosixPath:
    if not stays_inside(name):
        raise BadArchive(str(archive), f"member {name!r} would be written outside its folder")
    return PurePosixPath(name.replace("\\", "/"))


def stays_inside(name: str) -> bool:
    """Return True for a relative path, of a file, that does not leave the folder which it is relative to."""
    path = PurePosixPath(name.replace("\\", "/"))  # a backslash separates on Windows, and so does "C:"
    return bool(path.parts) and not (path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name)
