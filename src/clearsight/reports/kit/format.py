"""Text of shares, scores and other numbers on a page. Durations, speeds and counts are in core.format."""

from __future__ import annotations

import math

from clearsight.core.statistics import Interval

_TONES = {
    **dict.fromkeys(("completed", "complete"), "good"),
    **dict.fromkeys(("diverged", "failed"), "bad"),
    **dict.fromkeys(("running", "interrupted", "pruned"), "open"),
}
UNKNOWN = "–"  # an en dash: a hyphen in a column of numbers looks like a minus


def percent(share: float | None) -> str:
    """Return a share in [0, 1] as "88.3%"; a dash for None and for a share that is not finite."""
    return UNKNOWN if share is None or not math.isfinite(share) else f"{100 * share:.1f}%"


def percent_span(interval: Interval | None) -> str:
    """Return an interval of shares as "83.7% to 91.8%"."""
    return UNKNOWN if interval is None else f"{percent(interval.low)} to {percent(interval.high)}"


def score(value: float | None) -> str:
    """Return a score in [0, 1] as "0.883"."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.3f}"


def score_span(interval: Interval | None) -> str:
    """Return an interval of scores as "0.837 to 0.918"."""
    return UNKNOWN if interval is None else f"{score(interval.low)} to {score(interval.high)}"


def general(value: float | None) -> str:
    """Return any number with four significant digits: "0.4131", "3.2e-05", "nan", "inf"."""
    if value is None:
        return UNKNOWN
    # Unlike a share, a loss that is not finite is news: it is shown, not hidden behind a dash.
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def status_tone(text: str) -> str:
    """Return how the status of a run, study or trial is coloured: "good", "bad", "open", or "" for any other text.

    A run that stopped early has none: patience or a finding may have stopped it.
    """
    return _TONES.get(text.replace("_", " "), "")


def sentence(text: str) -> str:
    """Return text as a sentence, with a capital first letter and a full stop."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}" if text else ""


def clipped(text: str, width: int = 28) -> str:
    """Return text with its middle left out where it is longer than `width` characters.

    Both ends stay, because names of files and models often differ in their last characters alone.
    """
    if len(text) <= width:
        return text
    tail = width // 2 - 1
    return f"{text[: width - tail - 1]}…{text[-tail:]}"
