"""JobProfiler: system metrics of a running job, and what UpdateTrainingJob changes about its profiler."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from clearsight.core.files import write_text
from clearsight_sagemaker.training.container_files import profiler_config, synced_folders
from clearsight_sagemaker.training.event_log import EventLog
from clearsight_sagemaker.training.failure import JobFailed
from clearsight_sagemaker.training.job_folder import CONTAINER_ML, JobFolder
from clearsight_sagemaker.training.job_log import JobLog
from clearsight_sagemaker.training.objects import Objects, join_uri
from clearsight_sagemaker.training.processes.system_metrics import SystemMetrics

_MILLISECONDS = 500  # between readings, where the request says nothing


class JobProfiler:
    """Profiler of a job. Used by one thread: `start`, then `check` again and again, then `stop`.

    ml: path of /opt/ml as the job sees it.
    """

    def __init__(self, folder: JobFolder, objects: Objects, events: EventLog, log: JobLog, ml: str) -> None:
        self._folder, self._objects, self._events, self._log, self._ml = folder, objects, events, log, ml
        self._metrics: SystemMetrics | None = None
        self._config: Mapping[str, Any] = {}
        self._request_time = 0

    def start(self, request: Mapping[str, Any]) -> None:
        """Begin to read the machine, where the request asks for it."""
        self._request_time = self._folder.request.stat().st_mtime_ns
        self._config = request.get("ProfilerConfig") or {}
        self._apply(request)

    def stop(self) -> None:
        """End; the last readings are uploaded."""
        if self._metrics is not None:
            self._metrics.stop()

    def check(self, on_request: Callable[[Mapping[str, Any]], None]) -> None:
        """Take a request that has changed since the last time, and pass it on."""
        changed = self._folder.request.stat().st_mtime_ns
        if changed == self._request_time:
            return
        self._request_time = changed
        request = self._folder.read_request()
        config = request.get("ProfilerConfig") or {}
        if config != self._config:
            self._config = config
            self._apply(request)
            try:
                self._write_config(request)
            except (JobFailed, OSError) as error:  # the script goes on with what it has
                self._log.write(f"The configuration of the profiler is not changed: {error}")
            state = f"every {self._milliseconds} ms" if self._is_enabled else "no more"
            self._log.write(f"The profiler was changed: the metrics of the machine are read {state}.")
        on_request(request)

    @property
    def _is_enabled(self) -> bool:
        return bool(self._config.get("S3OutputPath")) and not self._config.get("DisableProfiler")

    @property
    def _milliseconds(self) -> int:
        return int(self._config.get("ProfilingIntervalInMilliseconds") or _MILLISECONDS)

    def _apply(self, request: Mapping[str, Any]) -> None:
        interval = self._milliseconds / 1000 if self._is_enabled else None
        if interval is not None:
            uri = join_uri(self._config["S3OutputPath"], request["TrainingJobName"], "profiler-output")
            self._events.append("profiling", status="Enabled", uri=uri, milliseconds=self._milliseconds)
            if self._metrics is None:
                self._metrics = SystemMetrics(uri, interval, self._objects, self._log.write)
                return
        if self._metrics is not None:
            self._metrics.change_interval(interval)

    def _write_config(self, request: Mapping[str, Any]) -> None:
        """Replace the configuration that smdebug looks at in each step."""
        folders = {part.name: part.container for part in synced_folders(request, None)}
        path = folders.get("profiler-output")
        seen = None if path is None else self._ml + path.removeprefix(CONTAINER_ML)
        file = self._folder.ml / "input" / "config" / "profilerconfig.json"
        write_text(file, json.dumps(profiler_config(self._config, seen)))
