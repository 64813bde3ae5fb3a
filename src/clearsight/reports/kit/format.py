"""How numbers are written on a page: few digits, thousands apart, and a dash where nothing is known."""

from __future__ import annotations

import math

from clearsight.core.statistics import Interval

UNKNOWN = "–"


def percent(share: float | None) -> str:
    """A share in [0, 1] as "88.3%"."""
    return UNKNOWN if share is None or not math.isfinite(share) else f"{100 * share:.1f}%"


def percent_span(interval: Interval | None) -> str:
    """An interval of shares as "83.7% to 91.8%"."""
    return UNKNOWN if interval is None else f"{percent(interval.low)} to {percent(interval.high)}"


def score(value: float | None) -> str:
    """A score in [0, 1] as "0.883"."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.3f}"


def score_span(interval: Interval | None) -> str:
    """An interval of scores as "0.837 to 0.918"."""
    return UNKNOWN if interval is None else f"{score(interval.low)} to {score(interval.high)}"


def general(value: float | None) -> str:
    """Any number with four significant digits: "0.4131", "3.2e-05"; what is not finite is said."""
    if value is None:
        return UNKNOWN
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def count(number: int) -> str:
    """A count as "401,059"."""
    return f"{number:,}"


def several(number: int, noun: str) -> str:
    """A count with its noun: "1 epoch", "1,020 images", "2 classes"."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{count(number)} {noun if number == 1 else noun + ending}"


def duration(seconds: float) -> str:
    """A duration as "12.3 s", "4 min 05 s" or "2 h 07 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def clipped(text: str, width: int = 28) -> str:
    """Text for a narrow place: the middle left out where it is longer than `width` characters."""
    if len(text) <= width:
        return text
    tail = width // 2 - 1
    return f"{text[: width - tail - 1]}…{text[-tail:]}"
