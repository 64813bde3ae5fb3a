"""LineSplitter: lines of an output that comes in pieces."""

from __future__ import annotations

import re

MOST_LINE_BYTES = 256 << 10  # of the UTF-8 of a line; a longer one becomes several
_END = re.compile(rb"[\r\n]")


class LineSplitter:
    r"""Splits bytes at \n and \r (progress bars end their lines with it). Blank lines are left out.

    Memory: at most one line. Bytes that are no UTF-8 are replaced.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[str]:
        """Return the lines that have come to their end with a piece."""
        *ended, self._rest = _END.split(self._rest + piece)
        lines = [text for line in ended for text in _texts(line)]
        if len(self._rest) > MOST_LINE_BYTES:
            *long, self._rest = _pieces(self._rest)
            lines += [text for line in long for text in _texts(line)]
        return lines

    def finish(self) -> list[str]:
        """Return the last line, which has no end."""
        rest, self._rest = self._rest, b""
        return _texts(rest)


def _texts(line: bytes) -> list[str]:
    return [text for piece in _pieces(line) if (text := _decoded(piece)).strip()]


def _decoded(piece: bytes) -> str:
    # A replacement character has three bytes in the place of one.
    text = piece.decode("utf-8", errors="replace")
    return (
        text
        if len(text.encode()) <= MOST_LINE_BYTES
        else piece.decode("ascii", errors="replace").replace("\ufffd", "?")
    )


def _pieces(line: bytes) -> list[bytes]:
    """Return a line in pieces of at most the longest length, cut between characters."""
    pieces = []
    while len(line) > MOST_LINE_BYTES:
        cut = MOST_LINE_BYTES
        while cut > MOST_LINE_BYTES - 4 and line[cut] & 0xC0 == 0x80:  # within a character
            cut -= 1
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line]
