"""Readers of framework metrics: phases of the training loop.

profiler-output/framework/pevents/2020060500/{end in microseconds}_{process-node}_model_timeline.json holds a trace.
"""

from __future__ import annotations

import re
from typing import Sequence

from smdebug.core.logger import get_logger
from smdebug.exceptions import CorruptFile
from smdebug.profiler.metrics_reader_base import MetricsReaderBase
from smdebug.profiler.trace_event_file_parser import TraceEvent, read_trace
from smdebug.profiler.utils import TimeUnits

_FILE = re.compile(r"(?:.*/)?pevents/.*?(\d+)_([^_/]+)_[^/]+\.json")


class AlgorithmMetricsReader(MetricsReaderBase):
    """Reads timelines below a folder or an s3:// path."""

    prefix = "framework"

    def time_of_file(self, name: str) -> int | None:
        match = _FILE.fullmatch(name)
        return int(match[1]) if match else None

    def parse(self, name: str, content: bytes) -> list[TraceEvent]:
        """Return the events of a timeline, none of one that cannot be read."""
        match = _FILE.fullmatch(name)
        try:
            return read_trace(content, match[2] if match else "")
        except CorruptFile as error:
            get_logger().error(f"{name}: {error}")
            return []

    def overlaps(self, event: TraceEvent, start: int, end: int) -> bool:
        return event.end_time >= start and event.start_time <= end

    def get_events_by_step(
        self, start_step: int, end_step: int, file_suffix_filter: Sequence[str] | None = None
    ) -> list[TraceEvent]:
        """Return the events from the start of `start_step` to that of `end_step`; none where either is missing."""
        latest = self.get_timestamp_of_latest_available_file()
        starts: dict[int, float] = {}
        for event in sorted(self.get_events(0, latest), key=lambda item: float(item.start_time)):
            if event.event_args and "step_num" in event.event_args:
                starts.setdefault(int(event.event_args["step_num"]), event.start_time)
        if start_step not in starts or end_step not in starts:
            get_logger().info(f"steps [{start_step}, {end_step}): the timelines do not have both.")
            return []
        begin, end = starts[start_step], starts[end_step] - 1
        return self.get_events(begin, end, TimeUnits.MICROSECONDS, file_suffix_filter=file_suffix_filter)


class LocalAlgorithmMetricsReader(AlgorithmMetricsReader):
    """Reads timelines of a folder: `trace_root_folder`/framework/..."""


class S3AlgorithmMetricsReader(AlgorithmMetricsReader):
    """Reads timelines of an s3:// path, that of profiler-output."""
