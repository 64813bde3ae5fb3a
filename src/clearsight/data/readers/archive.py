"""Class folders in a zip or tar archive, read in place: nothing is unpacked to disk by name.

A zip and a plain tar are read where they lie. A compressed tar has no random access, so its images are written once,
one after the other, to an anonymous temporary file that goes with the process.
"""

from __future__ import annotations

import contextlib
import errno
import lzma
import stat
import struct
import tarfile
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadArchive, BadData, BadImage, DiskFull, TooLarge
from clearsight.data.containers import sniff
from clearsight.data.readers.support.files import file_stamp
from clearsight.data.readers.support.layout import Node, hidden, interpret, is_image, skipped

MAX_MEMBER_BYTES = 512 << 20
MAX_MEMBERS = 5_000_000
MAX_DEPTH = 64
MAX_SPOOL_BYTES = 64 << 30

_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error),
    *(EOFError, OSError, ValueError, NotImplementedError),
)
_DEFLATED = {zipfile.ZIP_STORED: False, zipfile.ZIP_DEFLATED: True}


@dataclass(frozen=True, slots=True)
class Member:
    """Where the bytes of an image are. `packed` bytes at `offset` become `size` bytes; refused ones carry `why`."""

    offset: int
    packed: int
    size: int
    stamp: str
    deflated: bool = False
    crc: int | None = None
    local_header: bool = False  # a zip member's data follow a header whose length only the file itself tells
    why: str = ""


class ArchiveSource:
    """Reads members by name. Safe from any thread: only the raw read is serial, inflating is not."""

    def __init__(self, stream: IO[bytes], members: Mapping[str, Member]) -> None:
        self._stream, self._members, self._lock = stream, members, threading.Lock()
        weakref.finalize(self, stream.close)

    def read(self, locator: str) -> bytes:
        """The member's bytes; raises BadImage when it is damaged, over 512 MiB, or packed in a way that is not read."""
        member = self._members.get(locator)
        if member is None:
            raise BadImage(locator, "the archive has no such member")
        if member.why:
            raise BadImage(locator, member.why)
        try:
            data = self._unpacked(member)
        except (OSError, zlib.error, struct.error) as error:
            raise BadImage(locator, f"the archive is damaged there ({error})") from None
        if len(data) != member.size or (member.crc is not None and zlib.crc32(data) != member.crc):
            raise BadImage(locator, "the archive is damaged there (length or checksum is wrong)")
        return data

    def stamp(self, locator: str) -> str:
        """Checksum and length where the archive keeps one, else length and times."""
        member = self._members.get(locator)
        return member.stamp if member else "missing"

    def _unpacked(self, member: Member) -> bytes:
        with self._lock:
            offset = member.offset
            if member.local_header:
                self._stream.seek(offset)
                name, extra = struct.unpack_from("<HH", self._stream.read(30), 26)
                offset += 30 + name + extra
            self._stream.seek(offset)
            raw = self._stream.read(member.packed)
        return zlib.decompressobj(-15).decompress(raw, member.size + 1) if member.deflated else raw


class ArchiveReader:
    """Any layout of class folders in .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz."""

    name = "archive"

    def recognises(self, path: Path) -> bool:
        """Whether the name ends like an archive's."""
        return path.is_file() and path.name.lower().endswith((".zip", *_TARS))

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """All images in the archive; raises BadArchive when it is damaged, encrypted, or holds links or ".."."""
        if not path.is_file():
            raise BadData(str(path), "it is not an archive file")
        try:
            contents, stream = _zip(path) if zipfile.is_zipfile(path) else _tar(path)
        except _DAMAGE as error:
            raise BadArchive(str(path), f"it cannot be read ({error})") from None
        source = ArchiveSource(stream, contents.members)
        layout = interpret(_tree(contents, source), str(path))
        notices = (*skipped(contents.checkpoints), *layout.notices)
        return Listing(records=layout.records, source=source, format=self.name, notices=notices)


@dataclass
class _Contents:
    """What an archive holds that may matter: visible folders, and visible files that are or may be images."""

    path: Path
    members: dict[str, Member] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    checkpoints: set[str] = field(default_factory=set)

    def takes(self, name: str, *, folder: bool, link: bool) -> str | None:
        """The POSIX path of a member to keep, or None; raises BadArchive for one that points out of the archive."""
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or "\0" in name:
            raise BadArchive(str(self.path), f"member {name!r} points outside of the archive")
        if link:
            raise BadArchive(str(self.path), f"member {name!r} is a link or a device", fix="Pack the files themselves.")
        if len(path.parts) > MAX_DEPTH:
            raise BadArchive(str(self.path), f"a member lies more than {MAX_DEPTH} folders deep")
        if len(self.members) + len(self.folders) > MAX_MEMBERS:
            raise BadArchive(str(self.path), f"it has more than {MAX_MEMBERS:,} members")
        if ".ipynb_checkpoints" in path.parts:
            self.checkpoints.add("/".join(path.parts[: path.parts.index(".ipynb_checkpoints") + 1]))
        if any(hidden(part) for part in path.parts) or not path.parts:
            return None
        if folder:
            self.folders.add(path.as_posix())
            return None
        return path.as_posix() if is_image(path.name) is not False and _encodable(path.as_posix()) else None


def _encodable(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _tree(contents: _Contents, source: ArchiveSource) -> Node:
    root = Node()
    for folder in sorted(contents.folders):
        root.folder(folder)
    for member in contents.members:
        folder, _, name = member.rpartition("/")
        if is_image(name) or sniff(source.read(member)[:16]) is not None:
            root.folder(folder).files.append(name)
    return root


def _why(size: int) -> str:
    """Why a member of this size is not read, "" when it is."""
    if 0 <= size <= MAX_MEMBER_BYTES:
        return ""
    return f"it unpacks to {size:,} bytes, the limit is {MAX_MEMBER_BYTES:,}"


def _zip(path: Path) -> tuple[_Contents, IO[bytes]]:
    with zipfile.ZipFile(path) as packed:
        infos = packed.infolist()
    contents = _Contents(path)
    for info in infos:
        link = stat.S_ISLNK(info.external_attr >> 16)
        name = contents.takes(info.filename, folder=info.is_dir(), link=link)
        if name is None:
            continue
        if info.flag_bits & 1:
            raise BadArchive(str(path), f"member {name!r} is encrypted", fix="Unpack it and pass the folder.")
        contents.members[name] = _zip_member(info)
    return contents, path.open("rb")


def _zip_member(info: zipfile.ZipInfo) -> Member:
    why = _why(info.file_size)
    if info.compress_type not in _DEFLATED:
        why = f"it is packed by method {info.compress_type}, only stored and deflated members are read"
    return Member(
        offset=info.header_offset,
        packed=min(info.compress_size, MAX_MEMBER_BYTES),
        size=info.file_size,
        stamp=f"{info.CRC:08x}-{info.file_size}",
        deflated=_DEFLATED.get(info.compress_type, False),
        crc=info.CRC,
        local_header=True,
        why=why,
    )


def _tar(path: Path) -> tuple[_Contents, IO[bytes]]:
    try:
        with tarfile.open(path, "r:") as packed:
            return _plain_tar(path, packed)
    except tarfile.ReadError:
        with tarfile.open(path, "r|*") as packed:
            return _spooled_tar(path, packed)


def _plain_tar(path: Path, packed: tarfile.TarFile) -> tuple[_Contents, IO[bytes]]:
    contents, stamp = _Contents(path), file_stamp(path)
    for info in packed:
        name = _tar_name(contents, info)
        if name is not None:
            mark = f"{info.size}-{info.mtime}-{stamp}"
            contents.members[name] = Member(info.offset_data, info.size, info.size, mark, why=_why(info.size))
    return contents, path.open("rb")


def _spooled_tar(path: Path, packed: tarfile.TarFile) -> tuple[_Contents, IO[bytes]]:
    with contextlib.ExitStack() as stack:
        spool = stack.enter_context(tempfile.TemporaryFile())
        contents = _spooled(path, packed, spool)
        stack.pop_all()  # it went well: the file lives as long as the source
    return contents, spool


def _spooled(path: Path, packed: tarfile.TarFile, spool: IO[bytes]) -> _Contents:
    contents, at = _Contents(path), 0
    for info in packed:
        name = _tar_name(contents, info)
        if name is None:
            continue
        why, data = _why(info.size), b""
        if not why:
            stream = packed.extractfile(info)
            data = stream.read() if stream else b""
        at += len(data)
        if at > MAX_SPOOL_BYTES:
            raise TooLarge(str(path), f"its images take more than {MAX_SPOOL_BYTES >> 30} GiB", fix="Unpack it first.")
        _write(spool, data, path)
        mark = f"{zlib.crc32(data):08x}-{info.size}"
        contents.members[name] = Member(at - len(data), len(data), info.size, mark, why=why)
    return contents


def _write(stream: IO[bytes], data: bytes, path: Path) -> None:
    try:
        stream.write(data)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = "Unpack it where there is room and pass the folder, or pack it without compression."
            raise DiskFull(str(path), f"{tempfile.gettempdir()} has no room for its images", fix=fix) from None
        raise


def _tar_name(contents: _Contents, info: tarfile.TarInfo) -> str | None:
    odd = not (info.isdir() or info.isfile()) or info.issparse()
    return contents.takes(info.name, folder=info.isdir(), link=odd)


READER = ArchiveReader()
