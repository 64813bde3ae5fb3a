"""Class folders in a zip or tar archive, read in place: nothing is unpacked to disk by name.

A zip and a plain tar are read where they lie. A compressed tar has no random access, so its images are written once,
one after the other, to an anonymous temporary file that is deleted with the process.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import stat
import struct
import tarfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadArchive, BadData, BadImage
from clearsight.core.format import encodable
from clearsight.data.containers import sniff
from clearsight.data.readers.support.files import file_stamp
from clearsight.data.readers.support.layout import Node, hidden, interpret, is_image, skipped
from clearsight.data.readers.support.spool import Spool

# Limits against archives made to fill memory or disk.
MAX_MEMBER_BYTES = 512 << 20  # as of a plain file
MAX_MEMBERS = 5_000_000  # their names stay in memory
MAX_DEPTH = 64  # folders; the tree is walked by recursion

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# Damaged bytes make zipfile, tarfile and the decompressors raise any of these.
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error),
    *(EOFError, OSError, ValueError, NotImplementedError),
)
_ZIP = b"PK\x03\x04"
_COMPRESSIONS: Mapping[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_MAX_PADDING = 1 << 20  # bytes looked at behind the last member; tar pads to 10 KiB
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

    @property
    def names(self) -> Iterable[str]:
        """Return the names of all members that can be read."""
        return self._members.keys()

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
        """Return length, checksum or time as the archive keeps it, and the stamp of the archive."""
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
        return path.is_file() and path.name.lower().endswith((".zip", *TARS))

    def read(self, path: Path, options: ReadOptions) -> Listing:
        """Return all images in the archive; raises BadArchive when it is damaged, encrypted, or holds links or ".."."""
        contents, source = _open(path)
        layout = interpret(_tree(contents, source), str(path), options.class_level)
        notices = (*skipped(contents.checkpoints), *layout.notices)
        return Listing(records=layout.records, source=source, format=self.name, notices=notices)


def tar_names(path: Path) -> Iterator[str]:
    """Yield the names of the files in a tar, compressed or not; BadData when it is damaged."""
    try:
        with tarfile.open(path, "r|*") as packed:
            yield from (info.name for info in packed if info.isfile())
    except _DAMAGE as error:
        raise BadArchive(str(path), f"it cannot be read ({error})") from None


def open_images(path: Path) -> tuple[ArchiveSource, list[str]]:
    """Return the images of an archive, whatever its layout, and their names in its order; BadArchive as of the reader.

    A member without a suffix is an image by its first bytes.
    """
    contents, source = _open(path)
    names = [name for name in contents.members if is_image(name) or sniff(source.read(name)[:16]) is not None]
    return source, names


def open_tar(path: Path, keep: Callable[[str], bool]) -> ArchiveSource:
    """Return the members of a tar whose file names `keep` accepts; raises BadArchive as `ArchiveReader.read` does."""
    try:
        contents, stream = _tar(_Contents(path, keep))
    except _DAMAGE as error:
        raise BadArchive(str(path), f"it cannot be read ({error})") from None
    return ArchiveSource(stream, contents.members)


def _may_be_image(name: str) -> bool:
    return is_image(name) is not False


@dataclass
class _Contents:
    """Visible folders of an archive, and those of its visible files that are to be read. keep: by file name."""

    path: Path
    keep: Callable[[str], bool] = _may_be_image
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
        return path.as_posix() if self.keep(path.name) and encodable(path.as_posix()) else None


def _open(path: Path) -> tuple[_Contents, ArchiveSource]:
    if not path.is_file():
        raise BadData(str(path), "it is not an archive file")
    try:
        with path.open("rb") as file:
            head = file.read(len(_ZIP))
        contents, stream = _zip(path) if head == _ZIP or zipfile.is_zipfile(path) else _tar(_Contents(path))
    except _DAMAGE as error:
        problem = f"it is damaged, cut short, or no archive ({error})"
        raise BadArchive(str(path), problem, fix="Copy or download it again.") from None
    return contents, ArchiveSource(stream, contents.members)


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
    contents, mark = _Contents(path), file_stamp(path)
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
            # The checksum is of what was packed: a damaged member has it too, and so has the repaired one.
            stamp=f"{info.CRC:08x}-{info.file_size}-{mark}",
            deflated=_DEFLATED.get(info.compress_type, False),
            crc=info.CRC,
            local_header=True,
            reason=reason,
        )
    return contents, path.open("rb")


def _tar(contents: _Contents) -> tuple[_Contents, IO[bytes]]:
    path = contents.path
    with path.open("rb") as file:
        head = file.read(6)
    unpack = next((unpack for magic, unpack in _COMPRESSIONS.items() if head.startswith(magic)), None)
    if unpack is None:
        with tarfile.open(path, "r:") as packed:  # uncompressed only: offsets are those of the file
            return _plain_tar(contents, packed)
    # A stream: going back would decompress again. Not decompressed by tarfile, which takes the end of a file that was
    # cut short for the end of the archive.
    with unpack(path) as plain, tarfile.open(fileobj=plain, mode="r|") as packed:
        return _spooled_tar(contents, packed)


def _plain_tar(contents: _Contents, packed: tarfile.TarFile) -> tuple[_Contents, IO[bytes]]:
    path, stamp = contents.path, file_stamp(contents.path)
    for name, info in _tar_images(contents, packed):
        mark, reason = f"{info.size}-{info.mtime}-{stamp}", _size_problem(info.size)
        contents.members[name] = Member(info.offset_data, info.size, info.size, mark, reason=reason)
    with path.open("rb") as file:
        file.seek(packed.offset)  # beyond the end where the last member is cut
        _check_end(contents, file.read(tarfile.BLOCKSIZE))
    return contents, path.open("rb")


def _check_end(contents: _Contents, block: bytes) -> None:
    """Raise BadArchive unless `block`, what follows the last member, is the mark of the end, which is all zeros.

    tarfile takes a damaged header, and the end of a file that was cut short, for the end of the archive.
    """
    if len(block) < tarfile.BLOCKSIZE or block.strip(b"\0"):
        problem = f"it is damaged or cut short: after {len(contents.members):,} images there is no mark of its end"
        fix = "Copy or download it again. If it is whole, unpack it and pass the folder."
        raise BadArchive(str(contents.path), problem, fix=fix)


def _spooled_tar(contents: _Contents, packed: tarfile.TarFile) -> tuple[_Contents, IO[bytes]]:
    spool = Spool(contents.path)
    with contextlib.ExitStack() as stack:
        stack.callback(spool.stream.close)
        for name, info in _tar_images(contents, packed):
            reason = _size_problem(info.size)
            stream = None if reason else packed.extractfile(info)
            data = stream.read() if stream else b""
            mark = f"{zlib.crc32(data):08x}-{info.size}"
            contents.members[name] = Member(spool.append(data), len(data), info.size, mark, reason=reason)
        _check_end(contents, _after_last_member(packed))
        stack.pop_all()  # it went well: the file lives as long as the source
    return contents, spool.stream


def _after_last_member(packed: tarfile.TarFile) -> bytes:
    """Return a block like the one that a stream has after its last member, or a later one that is not empty."""
    stream = packed.fileobj
    assert stream is not None
    block = bytes(min(stream.tell() - packed.offset, tarfile.BLOCKSIZE))  # read already; its bytes are not kept
    try:
        for _ in range(_MAX_PADDING // tarfile.BLOCKSIZE):  # to the checksum of the compressed data
            later = stream.read(tarfile.BLOCKSIZE)
            if not later or later.strip(b"\0"):
                return later or block
    except gzip.BadGzipFile as error:
        if not str(error).startswith("Not a gzipped file"):  # bytes after a whole gzip file are no damage
            raise
    return block


def _tar_images(contents: _Contents, packed: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    for info in packed:
        odd = not (info.isdir() or info.isfile()) or info.issparse()  # sparse members are not stored byte for byte
        name = contents.visible_name(info.name, folder=info.isdir(), link=odd)
        if name is not None:
            yield name, info


READER = ArchiveReader()
