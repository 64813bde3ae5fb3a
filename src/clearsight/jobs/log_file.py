"""Log of a job: rotated while its process writes, followed, and read from its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

_KEPT = 3  # older files
_TAIL_BYTES = 64 << 10
_POLL_SECONDS = 0.2


def rotate(log: Path, most: int) -> bool:
    """Move what is in a log of more than `most` bytes to log.1, and that to log.2; return True if it did.

    The process keeps its open file, which appends, so the file is copied and cut. Lines that are written in between
    are lost, at most a few.
    """
    if not log.is_file() or log.stat().st_size <= most:
        return False
    for number in range(_KEPT - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    with log.open("rb") as source, log.with_name(f"{log.name}.1").open("wb") as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)
    with log.open("rb+") as file:
        file.truncate(0)
    return True


def last_lines(log: Path, count: int) -> list[str]:
    """Return the last lines, of the rotated file too where the newest has too few. Bad characters are replaced."""
    text = ""
    for path in (log, log.with_name(f"{log.name}.1")):
        if text.count("\n") > count or not path.is_file():
            break
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - max(_TAIL_BYTES, 256 * count)))
            text = file.read().decode(errors="replace") + text
    return text.splitlines()[-count:] if count else []


def last_words(log: Path) -> str:
    """Return the last line that is not empty: of a traceback the error itself. "" for an empty log."""
    return next((line.strip() for line in reversed(last_lines(log, 50)) if line.strip()), "")


def follow(log: Path, stopped: Callable[[], bool], offset: int = 0) -> Iterator[str]:
    """Yield the lines from byte `offset` on as they are written, until `stopped` and the end; rotation loses none."""
    rest = b""
    while True:
        over = stopped()
        size = log.stat().st_size if log.is_file() else 0
        if size < offset:  # cut: what was written before is in the older file
            rest += _from(log.with_name(f"{log.name}.1"), offset)
            offset = 0
        part = _from(log, offset)
        offset += len(part)
        *lines, rest = (rest + part).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
        if over and not part:
            if rest:
                yield rest.decode(errors="replace")
            return
        if not part:
            time.sleep(_POLL_SECONDS)


def _from(path: Path, offset: int) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read()
