"""MetricsReaderBase: measurements of a time range, from files that carry their time in their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Iterable, Sequence

from smdebug.core.file_store import FileStore, open_files
from smdebug.core.logger import get_logger
from smdebug.profiler.utils import TimeUnits, convert_utc_timestamp_to_microseconds

BUFFER_MICROSECONDS = 3 * 60 * 1_000_000  # a file holds events from before and after the time in its name


class MetricsReaderBase(ABC):
    """Reads the files of one folder of profiler-output, a folder or an s3:// path.

    use_in_memory_cache: read each file once.  Times are microseconds since 1970 unless a `unit` says otherwise.
    """

    prefix: str  # folder below profiler-output

    def __init__(self, path: str, use_in_memory_cache: bool = False) -> None:
        self.path = path
        self._files: FileStore = open_files(path)
        self._names: dict[int, list[str]] = {}
        self._cache: dict[str, list[Any]] | None = {} if use_in_memory_cache else None
        self.refresh_event_file_list()

    @abstractmethod
    def time_of_file(self, name: str) -> int | None:
        """Return the time in the name of a file, in microseconds; None for another file."""

    @abstractmethod
    def parse(self, name: str, content: bytes) -> list[Any]:
        """Return the events of a file."""

    @abstractmethod
    def overlaps(self, event: Any, start: int, end: int) -> bool:
        """Return True for an event in a time range, in microseconds."""

    def refresh_event_file_list(self) -> None:
        """Find the files that are there now."""
        found: dict[int, list[str]] = {}
        for name in self._files.names(f"{self.prefix}/"):
            timestamp = self.time_of_file(name)
            if timestamp is not None:
                found.setdefault(timestamp, []).append(name)
        self._names = found

    def get_timestamp_of_first_available_file(self) -> int:
        """Return the time of the first file in microseconds; 0 where there is none."""
        return min(self._names, default=0)

    def get_timestamp_of_latest_available_file(self) -> int:
        """Return the time of the last file in microseconds; 0 where there is none."""
        return max(self._names, default=0)

    def get_current_time_range_for_event_query(self) -> tuple[int, int]:
        """Return the times of the first and the last file."""
        return self.get_timestamp_of_first_available_file(), self.get_timestamp_of_latest_available_file()

    def get_events(
        self,
        start_time: float,
        end_time: float,
        unit: TimeUnits = TimeUnits.MICROSECONDS,
        event_type: str | None = None,
        file_suffix_filter: Sequence[str] | None = None,
    ) -> list[Any]:
        """Return the events of a time range, in the order of the files.

        event_type: of system events, such as `cpu`.  file_suffix_filter: endings of the files that are read.
        """
        start = convert_utc_timestamp_to_microseconds(start_time, unit)
        end = convert_utc_timestamp_to_microseconds(end_time, unit)
        if end + BUFFER_MICROSECONDS >= self.get_timestamp_of_latest_available_file():
            self.refresh_event_file_list()
        events = []
        for name in self._names_in_range(start, end):
            if file_suffix_filter is None or name.endswith(tuple(file_suffix_filter)):
                events += [event for event in self._events(name) if self.overlaps(event, start, end)]
        return [event for event in events if event_type is None or getattr(event, "type", None) == event_type]

    def _names_in_range(self, start: int, end: int) -> Iterable[str]:
        """Return the files that may hold events of a range: with those just before and just after it."""
        times = sorted(self._names)
        before = max((time for time in times if time <= start - BUFFER_MICROSECONDS), default=0)
        after = min((time for time in times if time >= end + BUFFER_MICROSECONDS), default=max(times, default=0))
        return [name for time in times if before <= time <= after for name in sorted(self._names[time])]

    def _events(self, name: str) -> list[Any]:
        if self._cache is not None and name in self._cache:
            return self._cache[name]
        try:
            events = self.parse(name, self._files.read(name))
        except FileNotFoundError:
            get_logger().warning(f"{self.path}/{name}: the file is gone.")
            events = []
        if self._cache is not None:
            self._cache[name] = events
        return events
