"""Text of durations, speeds, counts and sizes, the same in the terminal, in log.txt and in reports."""

from __future__ import annotations

import io
import re
import sys

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # seconds
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])i?)?b?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([smhd]?)")


def duration(seconds: float) -> str:
    """Return a duration as "12.3 s", "4 min 05 s" or "2 h 07 min"."""
    if round(seconds, 1) < 60:  # rounded first, or 59.97 would be "60.0 s"
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def parse_duration(text: str) -> float:
    """Return the seconds of "90", "90s", "10m", "1.5h" or "2d"; raises ValueError for other text."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not match:
        raise ValueError("must be a number of seconds, or a time such as 90s, 10m, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]]


def parse_size(text: str) -> int:
    """Return the bytes of "500MB", "2GB" or "1.5 GiB", in multiples of 1,024; raises ValueError for other text."""
    match = _SIZE.fullmatch(text.strip().lower())
    if not match:
        raise ValueError("must be a size such as 500MB or 2GB")
    return int(float(match[1]) * 1024 ** (" kmgt".index(match[2] or " ")))


def rate(images_per_second: float) -> str:
    """Return images per second as "1,234", or as "3.4" below 10, where whole numbers would hide a gain."""
    return f"{images_per_second:,.1f}" if images_per_second < 9.95 else f"{images_per_second:,.0f}"


def speed(images_per_second: float) -> str:
    """Return a speed as "1,234 images/s"."""
    return f"{rate(images_per_second)} images/s"


def count(number: int) -> str:
    """Return a count as "401,059"."""
    return f"{number:,}"


def several(number: int, noun: str) -> str:
    """Return a count with its noun: "1 epoch", "1,020 images", "2 classes"."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{count(number)} {noun if number == 1 else noun + ending}"


def size(number: float) -> str:
    """Return a number of bytes as "1.5 GiB" or "512 MiB"."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


def file_size(number: float) -> str:
    """Return a number of bytes as "15 B", "1.3 KiB", "42.7 MiB" or "3.1 GiB"."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    place = 0
    while number >= 1024 and place < len(units) - 1:
        number, place = number / 1024, place + 1
    return f"{number:.1f} {units[place]}" if place else f"{number:.0f} B"


def replace_unprintable() -> None:
    """Let standard output and error print "?" for a character that their encoding lacks, as in a terminal of Latin-1.

    File names that are not valid UTF-8 have such characters in every encoding. Python's default is an error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def encodable(text: str, encoding: str = "utf-8") -> bool:
    """Return True if the encoding has every character of the text; Python reads bytes that are not UTF-8 as others."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
