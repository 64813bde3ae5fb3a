"""Zip archives of encoded images: a list of them in the order of the archive."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import PurePosixPath

from clearsight.core.errors import BadValue, EmptyInput, TooLarge
from clearsight.serving.payload import Payload

_MOST_FILES = 1024
_GROWTH = 2  # times the archive: encoded images hardly shrink, and an archive that unpacks to more is no such archive


def read(body: bytes) -> Payload:
    """Return the files of the archive, without hidden ones and folders.

    Raises BadValue for a damaged or encrypted archive, TooLarge for one that unpacks to more than twice its size,
    EmptyInput for one without a file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            files = [info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
            if len(files) > _MOST_FILES:
                raise TooLarge("zip archive", f"it holds {len(files)} files, the limit is {_MOST_FILES}")
            if sum(info.file_size for info in files) > _GROWTH * len(body):
                problem = f"it unpacks to more than {_GROWTH} times its size"
                raise TooLarge("zip archive", problem, fix="Put JPEG or PNG files into it.")
            images = [_content(archive, info) for info in files]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        # RuntimeError: a password is needed.
        raise BadValue("zip archive", f"it cannot be unpacked ({error})"[:200]) from None
    if not images:
        raise EmptyInput("zip archive", "it holds no file")
    return Payload(images, batch=True)


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(info.file_size)  # whatever its data say, no more than its directory does


def _is_hidden(name: str) -> bool:
    """Return True for what desktops add: .DS_Store, __MACOSX/..."""
    return any(part.startswith((".", "__")) for part in PurePosixPath(name).parts)
