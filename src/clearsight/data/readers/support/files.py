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
        """The file's bytes; raises BadImage when it is missing, not a regular file, unreadable or over 512 MiB."""
        path = self.root / locator
        try:
            if not path.is_file():
                raise BadImage(locator, "there is no such file" if not path.exists() else "it is not a regular file")
            with path.open("rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise BadImage(locator, f"it cannot be read ({getattr(error, 'strerror', None) or error})") from None
        if len(data) > MAX_FILE_BYTES:
            raise BadImage(locator, f"it has more than {MAX_FILE_BYTES >> 20} MiB")
        return data

    def stamp(self, locator: str) -> str:
        """Size and modification time; "missing" when there is no such file."""
        try:
            facts = (self.root / locator).stat()
        except (OSError, ValueError):
            return "missing"
        return f"{facts.st_size}-{facts.st_mtime_ns}"


def file_stamp(path: Path) -> str:
    """Size and modification time of a file that holds many images."""
    facts = path.stat()
    return f"{facts.st_size}-{facts.st_mtime_ns}"
