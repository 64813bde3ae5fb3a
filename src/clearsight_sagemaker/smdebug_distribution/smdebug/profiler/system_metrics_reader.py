"""Readers of system metrics: use of processors, memory, disks and network, as the platform measures them.

profiler-output/system/incremental/2020060500/1591160640.algo-1.json has one measurement a line:
{"Type": "cpu", "Name": "cpu1", "Dimension": "CPUUtilization", "Value": 44.7, "NodeId": "algo-1",
 "Timestamp": 1591160699.4}
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from smdebug.core.logger import get_logger
from smdebug.exceptions import CorruptFile
from smdebug.profiler.metrics_reader_base import MetricsReaderBase

_FILE = re.compile(r"(?:.*/)?system/.+/(\d{10})\.algo-\d+\.json")


@dataclass(frozen=True)
class ProfilerSystemEvent:
    """A measurement. type: cpu, gpu, memory...  name: of the core or device.  timestamp: seconds since 1970."""

    type: str
    name: str | None
    dimension: str
    value: float
    node_id: str
    timestamp: float


class SystemMetricsReader(MetricsReaderBase):
    """Reads system metrics below a folder or an s3:// path."""

    prefix = "system"

    def time_of_file(self, name: str) -> int | None:
        match = _FILE.fullmatch(name)
        return int(match[1]) * 1_000_000 if match else None

    def parse(self, name: str, content: bytes) -> list[ProfilerSystemEvent]:
        """Return the measurements of a file. A last line that is being written is left out. Raises CorruptFile."""
        lines = content.decode("utf-8", errors="replace").splitlines()
        events = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                item = json.loads(line)
                events.append(
                    ProfilerSystemEvent(
                        str(item["Type"]),
                        item.get("Name"),
                        str(item["Dimension"]),
                        float(item["Value"]),
                        str(item["NodeId"]),
                        float(item["Timestamp"]),
                    )
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if number < len(lines):
                    raise CorruptFile(f"{name}, line {number}: no measurement ({error!r}).") from None
                get_logger().debug(f"{name}: the last line is incomplete.")
        return events

    def overlaps(self, event: ProfilerSystemEvent, start: int, end: int) -> bool:
        return start <= event.timestamp * 1_000_000 <= end


class LocalSystemMetricsReader(SystemMetricsReader):
    """Reads system metrics of a folder: `trace_root_folder`/system/..."""


class S3SystemMetricsReader(SystemMetricsReader):
    """Reads system metrics of an s3:// path, that of profiler-output."""
