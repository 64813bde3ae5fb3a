"""Times and truth values of the profiler's files. The name is smdebug's: scripts import `str2bool` from here."""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum

_TRUE = ("y", "yes", "t", "true", "on", "1")
_FALSE = ("n", "no", "f", "false", "off", "0")


class TimeUnits(Enum):
    """Unit of the times that a reader is asked for."""

    SECONDS = 1
    MILLISECONDS = 2
    MICROSECONDS = 3
    NANOSECONDS = 4


_PER_SECOND = {
    TimeUnits.SECONDS: 1,
    TimeUnits.MILLISECONDS: 1_000,
    TimeUnits.MICROSECONDS: 1_000_000,
    TimeUnits.NANOSECONDS: 1_000_000_000,
}


def str2bool(v: bool | str) -> bool:
    """Return the truth value of y, yes, t, true, on, 1 and of n, no, f, false, off, 0. Raises ValueError."""
    if isinstance(v, bool):
        return v
    text = str(v).lower()
    if text not in _TRUE + _FALSE:
        raise ValueError(f"str2bool({v!r}): must be one of {', '.join(_TRUE + _FALSE)}.")
    return text in _TRUE


def convert_utc_timestamp_to_microseconds(timestamp: float, unit: TimeUnits = TimeUnits.MICROSECONDS) -> int:
    """Return a time since 1970 in microseconds."""
    return int(timestamp * 1_000_000) if unit is TimeUnits.SECONDS else int(timestamp * 1_000_000 / _PER_SECOND[unit])


def convert_utc_timestamp_to_nanoseconds(timestamp: float, unit: TimeUnits = TimeUnits.MICROSECONDS) -> int:
    """Return a time since 1970 in nanoseconds."""
    return int(timestamp * (1_000_000_000 // _PER_SECOND[unit]))


def convert_utc_datetime_to_microseconds(timestamp_datetime: datetime) -> int:
    """Return a date in microseconds since 1970."""
    return convert_utc_timestamp_to_microseconds(timestamp_datetime.timestamp(), TimeUnits.SECONDS)


def us_since_epoch_to_human_readable_time(us_since_epoch: float) -> str:
    """Return microseconds since 1970 as a date in UTC, such as 2020-06-05T00:01:39:457000."""
    return datetime.fromtimestamp(us_since_epoch / 1e6, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%S:%f")
