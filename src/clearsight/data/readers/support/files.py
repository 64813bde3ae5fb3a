"""Images as plain files below a folder."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.errors import BadImage

MAX_FILE_BYTES = 512 << 20  # no image within any sensible pixel limit is larger


class FileSource:
    """Reads files by their path relative to `root` (absolute ones are read as they are). Safe from any thread."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, locator: str) -> bytes:
        """Return the file's bytes; raises BadImage when it is missing, no regular file, unreadable or over 512 MiB."""
        path = self.root / locator
        try:
            if not path.is_file():  # a FIFO would block for ever
                raise BadImage(locator, "there is no such file" if not path.exists() else "it is not a regular file")
            with path.open("rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)  # not by stat: the file may grow meanwhile
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise BadImage(locator, f"it cannot be read ({getattr(error, 'strerror', None) or error})") from None
        if len(data) > MAX_FILE_BYTES:
            raise BadImage(locator, f"it has more than {MAX_FILE_BYTES >> 20} MiB")
        return data

    def stamp(self, locator: str) -> str:
        """Return the stamp of the file; "missing" when there is no such file."""
        try:
            return file_stamp(self.root / locator)
        except (OSError, ValueError):
            return "missing"


def file_stamp(path: Path) -> str:
    """Return inode, size, and the times of modification and of change: cheap, and different after any replacement.

    Copying and unpacking programs set the modification time as they like; nobody sets the time of change.
    """
    facts = path.stat()
    return f"{facts.st_ino}-{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ctime_ns}"
