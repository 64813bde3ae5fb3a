"""PandasFrame: system and framework metrics as tables of pandas, which is imported on first use."""

from __future__ import annotations

from typing import Any, Sequence

from smdebug.exceptions import SMDebugRuntimeError
from smdebug.profiler.algorithm_metrics_reader import AlgorithmMetricsReader
from smdebug.profiler.system_metrics_reader import SystemMetricsReader
from smdebug.profiler.utils import us_since_epoch_to_human_readable_time

_SYSTEM_COLUMNS = ["timestamp", "timestamp_us", "value", "system_metric", "dimension", "nodeID", "type"]
_FRAMEWORK_COLUMNS = [
    *("start_time", "end_time", "start_time_us", "end_time_us", "tid", "pid"),
    *("framework_metric", "step", "bytes", "process", "nodeID"),
]


class PandasFrame:
    """Tables of the metrics below `path`, a folder or an s3:// path.

    The columns `..._us` are microseconds since the first file of system metrics. scan_interval is accepted: files are
    read one after the other.
    """

    def __init__(self, path: str, use_in_memory_cache: bool = False, scan_interval: int = 5_000_000_000) -> None:
        self.path = path
        self.system_metrics_reader = SystemMetricsReader(path, use_in_memory_cache)
        self.framework_metrics_reader = AlgorithmMetricsReader(path, use_in_memory_cache)
        self.start_time = self.system_metrics_reader.get_timestamp_of_first_available_file()

    def get_all_system_metrics(self, selected_system_metrics: Sequence[str] = ()) -> Any:
        """Return the table of all measurements, or of those with a name or a dimension in the selection."""
        reader = self.system_metrics_reader
        reader.refresh_event_file_list()
        # A file has the measurements of the minute that begins with its time.
        events = reader.get_events(0, reader.get_timestamp_of_latest_available_file() + 60_000_000)
        return self._system_table(events, selected_system_metrics)

    def get_all_framework_metrics(self, selected_framework_metrics: Sequence[str] = ()) -> Any:
        """Return the table of all events, or of those with a name or a phase in the selection."""
        reader = self.framework_metrics_reader
        reader.refresh_event_file_list()
        events = reader.get_events(0, reader.get_timestamp_of_latest_available_file())
        return self._framework_table(events, selected_framework_metrics)

    def get_profiler_data_by_time(
        self,
        start_time_us: float,
        end_time_us: float,
        cache_metrics: bool = False,
        selected_framework_metrics: Sequence[str] = (),
        selected_system_metrics: Sequence[str] = (),
        get_framework_metrics: bool = True,
        get_system_metrics: bool = True,
    ) -> tuple[Any, Any]:
        """Return the tables of system and framework metrics of a time range.

        start_time_us, end_time_us: microseconds since 1970.  cache_metrics is accepted: `use_in_memory_cache` decides.
        A table that is not asked for is empty.
        """
        system = self.system_metrics_reader.get_events(start_time_us, end_time_us) if get_system_metrics else []
        framework = (
            self.framework_metrics_reader.get_events(start_time_us, end_time_us) if get_framework_metrics else []
        )
        return (
            self._system_table(system, selected_system_metrics),
            self._framework_table(framework, selected_framework_metrics),
        )

    def get_profiler_data_by_step(self, start_step: int, end_step: int, cache_metrics: bool = False) -> tuple[Any, Any]:
        """Return the tables of system and framework metrics of steps, both ends included.

        System metrics are those between the first and the last moment of the steps.
        """
        framework = self.get_all_framework_metrics()
        framework = framework[framework["step"].between(start_step, end_step)]
        system = self.get_all_system_metrics()
        first, last = framework["start_time_us"].min(), framework["end_time_us"].max()
        return system[system["timestamp_us"].between(first, last)], framework

    def _system_table(self, events: Sequence[Any], selection: Sequence[str]) -> Any:
        rows = [
            [
                us_since_epoch_to_human_readable_time(event.timestamp * 1e6),
                int(event.timestamp * 1e6) - self.start_time,
                *(event.value, event.name, event.dimension, event.node_id, event.type),
            ]
            for event in events
            if not selection or {event.name, event.dimension} & set(selection)
        ]
        return _table(rows, _SYSTEM_COLUMNS)

    def _framework_table(self, events: Sequence[Any], selection: Sequence[str]) -> Any:
        rows = []
        for event in events:
            if selection and not ({event.event_name, event.event_phase} & set(selection)):
                continue
            args = event.event_args or {}
            times = [event.start_time, event.end_time]
            rows.append(
                [
                    *map(us_since_epoch_to_human_readable_time, times),
                    *(time - self.start_time for time in times),
                    *(event.tid, event.pid, args.get("layer_name", args.get("name", event.event_name))),
                    *(int(args.get("step_num", -1)), args.get("bytes_fetched", -1), event.event_phase, event.node_id),
                ]
            )
        return _table(rows, _FRAMEWORK_COLUMNS)


def _table(rows: list[list[Any]], columns: list[str]) -> Any:
    try:
        import pandas
    except ImportError:
        raise SMDebugRuntimeError("PandasFrame needs pandas. Install it: pip install pandas") from None
    return pandas.DataFrame(rows, columns=columns).drop_duplicates()
