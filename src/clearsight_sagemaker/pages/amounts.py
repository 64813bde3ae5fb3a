"""Times and sizes as a page shows them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(seconds: float) -> str:
    """Return a time as "2026-11-30 21:24:29 UTC". seconds: since 1970."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float | None) -> str:
    """Return a duration as "7 s", "3 min 20 s" or "2 h 5 min"; "" for None."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def byte_count(number: float) -> str:
    """Return a number of bytes as "15 B", "1.3 KiB", "42.7 MiB" or "3.1 GiB"."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    place = 0
    while number >= 1024 and place < len(units) - 1:
        number, place = number / 1024, place + 1
    return f"{number:.0f} B" if not place else f"{number:.1f} {units[place]}"
