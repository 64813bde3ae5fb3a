"""Class folders in a zip or tar archive, read in place: nothing is unpacked to disk by name.

A zip and a plain tar are read where they lie. A compressed tar has no random access, so its images are written once,
one after the other, to an anonymous temporary file that is deleted with the process.
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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadArchive, BadData, BadImage, DiskFull, TooLarge
from clearsight.core.format import encodable
from clearsight.data.containers import sniff
from clearsight.data.readers.support.files import file_stamp
from clearsight.data.readers.support.layout import Node, hidden, interpret, is_image, skipped

# Limits against archives made to fill memory or disk.
MAX_MEMBER_BYTES = 512 << 20  # as of a plain file
MAX_MEMBERS = 5_000_000  # their names stay in memory
MAX_DEPTH = 64  # folders; the tree is walked by recursion
MAX_SPOOL_BYTES = 64 << 30  # of a compressed tar, on the disk of temporary files

_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# Damaged bytes make zipfile, tarfile and the decompressors raise any of these.
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error),
    *(EOFError, OSError, ValueError, NotImplementedError),
)
_DEFLATED = {zipfile.ZIP_STORED: False, zipfile.ZIP_DEFLATED: True}  # what zlib reads; others would need a library


@dataclass(frozen=True, slots=True)
class Member:
    """Place of an image's bytes: `packed` bytes at `offset` become `size`. reason: why it is not read, or ""."""

    offset: int
    packed: int
    size: int
    stamp: str
    deflated: bool = False
    crc: int | None = None
    local_header: bool = False  # a zip member's data follow a header whose length only the file itself tells
    reason: str = ""


class ArchiveSource:
    """Reads members by name. Safe from any thread: only the raw read is serial, inflating is not."""

    def __init__(self, stream: IO[bytes], members: Mapping[str, Member]) -> None:
        self._stream, self._members, self._lock = stream, members, threading.Lock()
        weakref.finalize(self, stream.close)  # no caller closes a source

    def read(self, locator: str) -> bytes:
        """Return the member's bytes; raises BadImage when it is damaged, over 512 MiB, or packed otherwise."""
        member = self._members.get(locator)
        if member is None:
            raise BadImage(locator, "the archive has no such member")
        if member.reason:
            raise BadImage(locator, member.reason)
        try:
            data = self._unpacked(member)
        except (OSError, zlib.error, struct.error) as error:
            raise BadImage(locator, f"the archive is damaged there ({error})") from None
        if len(data) != member.size or (member.crc is not None and zlib.crc32(data) != member.crc):
            raise BadImage(locator, "the archive is damaged there (length or checksum is wrong)")
        return data

    def stamp(self, locator: str) -> str:
        """Return checksum and length where the archive keeps one, else length and times."""
        member = self._members.get(locator)
        return member.stamp if member else "missing"

    def _unpacked(self, member: Member) -> bytes:
        with self._lock:
            offset = member.offset
            if member.local_header:
                self._stream.seek(offset)
                # Their lengths end the header of 30 bytes.
                name, extra = struct.unpack_from("<HH", self._stream.read(30), 26)
                offset += 30 + name + extra
            self._stream.seek(offset)
            raw = self._stream.read(member.packed)
        # -15: deflate without a header. One byte more than declared betrays a member that unpacks to gigabytes.
        return zlib.decompressobj(-15).decompress(raw, member.size + 1) if member.deflated else raw


class ArchiveReader:
    """Any layout of class folders in .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz."""

    name = "archive"

    def recognises(self, path: Path) -> bool:
        return path.is_file() and path.name.lower().endswith((".zip", *_TARS))

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return all images in the archive; raises BadArchive when it is damaged, encrypted, or holds links or ".."."""
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
    """Visible folders of an archive, and its visible files that are or may be images."""

    path: Path
    members: dict[str, Member] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    checkpoints: set[str] = field(default_factory=set)

    def visible_name(self, name: str, *, folder: bool, link: bool) -> str | None:
        """Return the POSIX path of a member to keep, or None; raises BadArchive for a path outside."""
        path = PurePosixPath(name.replace("\\", "/"))  # some programs on Windows write backslashes
        # Nothing is unpacked by name, but no ordinary dataset has such a member, so the archive is refused.
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
        return path.as_posix() if is_image(path.name) is not False and encodable(path.as_posix()) else None


def _tree(contents: _Contents, source: ArchiveSource) -> Node:
    root = Node()
    for folder in sorted(contents.folders):
        root.folder(folder)
    for member in contents.members:
        folder, _, name = member.rpartition("/")
        if is_image(name) or sniff(source.read(member)[:16]) is not None:
            root.folder(folder).files.append(name)
    return root


def _size_problem(size: int) -> str:
    """Return why a member of this size is not read, "" when it is."""
    return "" if 0 <= size <= MAX_MEMBER_BYTES else f"it unpacks to {size:,} bytes, the limit is {MAX_MEMBER_BYTES:,}"


def _zip(path: Path) -> tuple[_Contents, IO[bytes]]:
    with zipfile.ZipFile(path) as packed:
        infos = packed.infolist()
    contents = _Contents(path)
    for info in infos:
        link = stat.S_ISLNK(info.external_attr >> 16)  # the upper half is the Unix mode
        name = contents.visible_name(info.filename, folder=info.is_dir(), link=link)
        if name is None:
            continue
        if info.flag_bits & 1:  # bit 0: encrypted
            raise BadArchive(str(path), f"member {name!r} is encrypted", fix="Unpack it and pass the folder.")
        reason = _size_problem(info.file_size)
        if info.compress_type not in _DEFLATED:
            reason = f"it is packed by method {info.compress_type}, only stored and deflated members are read"
        contents.members[name] = Member(
            offset=info.header_offset,
            packed=min(info.compress_size, MAX_MEMBER_BYTES),  # what is declared may be a lie: read no more
            size=info.file_size,
            stamp=f"{info.CRC:08x}-{info.file_size}",
            deflated=_DEFLATED.get(info.compress_type, False),
            crc=info.CRC,
            local_header=True,
            reason=reason,
        )
    return contents, path.open("rb")


def _tar(path: Path) -> tuple[_Contents, IO[bytes]]:
    try:
        with tarfile.open(path, "r:") as packed:  # uncompressed only: offsets are those of the file
            return _plain_tar(path, packed)
    except tarfile.ReadError:
        with tarfile.open(path, "r|*") as packed:  # a stream: going back would decompress again
            return _spooled_tar(path, packed)


def _plain_tar(path: Path, packed: tarfile.TarFile) -> tuple[_Contents, IO[bytes]]:
    contents, stamp = _Contents(path), file_stamp(path)
    for name, info in _tar_images(contents, packed):
        mark, reason = f"{info.size}-{info.mtime}-{stamp}", _size_problem(info.size)
        contents.members[name] = Member(info.offset_data, info.size, info.size, mark, reason=reason)
    return contents, path.open("rb")


def _spooled_tar(path: Path, packed: tarfile.TarFile) -> tuple[_Contents, IO[bytes]]:
    contents, at = _Contents(path), 0
    with contextlib.ExitStack() as stack:
        spool = stack.enter_context(tempfile.TemporaryFile())
        for name, info in _tar_images(contents, packed):
            reason = _size_problem(info.size)
            stream = None if reason else packed.extractfile(info)
            data = stream.read() if stream else b""
            if at + len(data) > MAX_SPOOL_BYTES:
                limit = f"{MAX_SPOOL_BYTES >> 30} GiB"
                raise TooLarge(str(path), f"its images take more than {limit}", fix="Unpack it first.")
            _write(spool, data, path)
            mark = f"{zlib.crc32(data):08x}-{info.size}"
            contents.members[name] = Member(at, len(data), info.size, mark, reason=reason)
            at += len(data)
        stack.pop_all()  # it went well: the file lives as long as the source
    return contents, spool


def _write(stream: IO[bytes], data: bytes, path: Path) -> None:
    try:
        stream.write(data)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # EDQUOT: the user's quota, as on shared machines
            fix = "Unpack it where there is room and pass the folder, or pack it without compression."
            raise DiskFull(str(path), f"{tempfile.gettempdir()} has no room for its images", fix=fix) from None
        raise


def _tar_images(contents: _Contents, packed: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    for info in packed:
        odd = not (info.isdir() or info.isfile()) or info.issparse()  # sparse members are not stored byte for byte
        name = contents.visible_name(info.name, folder=info.isdir(), link=odd)
        if name is not None:
            yield name, info


READER = ArchiveReader()
