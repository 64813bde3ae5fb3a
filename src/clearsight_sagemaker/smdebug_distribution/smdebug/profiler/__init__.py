"""smdebug.profiler: readers of profiler-output, the measurements of a job's machine and of its training loop."""

from smdebug.profiler.algorithm_metrics_reader import LocalAlgorithmMetricsReader, S3AlgorithmMetricsReader
from smdebug.profiler.metrics_reader_base import MetricsReaderBase
from smdebug.profiler.system_metrics_reader import (
    LocalSystemMetricsReader,
    ProfilerSystemEvent,
    S3SystemMetricsReader,
)
from smdebug.profiler.trace_event_file_parser import TraceEvent

__all__ = [
    "LocalAlgorithmMetricsReader",
    "LocalSystemMetricsReader",
    "MetricsReaderBase",
    "ProfilerSystemEvent",
    "S3AlgorithmMetricsReader",
    "S3SystemMetricsReader",
    "TraceEvent",
]
