"""SystemMetrics: load of the machine during a job, as files that SageMaker's profiler tools read."""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psutil

from clearsight_sagemaker.training.objects import STORE_ERRORS, Objects, join_uri

_NODE = "algo-1"
_UPLOAD_SECONDS = 10.0  # between uploads of the file of the current minute
_SLOWEST_GPU = 1.0  # seconds between readings of GPUs; the driver blocks while it is asked


class SystemMetrics:
    """Thread that reads the machine and uploads a file a minute; the first one within a few seconds.

    uri: of profiler-output.  interval: seconds between readings, None for none until it is changed.
    warn: takes a sentence, once.
    """

    def __init__(self, uri: str, interval: float | None, objects: Objects, warn: Callable[[str], None]) -> None:
        self._uri, self._interval, self._objects, self._warn = uri, interval, objects, warn
        self._wake, self._is_ended = threading.Event(), False
        self._minute, self._lines = 0, list[str]()
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="system metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the last file is uploaded."""
        self._is_ended = True
        self._wake.set()
        self._thread.join()

    def change_interval(self, interval: float | None) -> None:
        """Read the machine so often from now on; None for no more."""
        self._interval = interval
        self._wake.set()

    def _run(self) -> None:
        with MachineGauges() as gauges:
            next_upload = 0.0
            while not self._is_ended:
                if self._wake.wait(self._interval):
                    self._wake.clear()
                    next_upload = 0.0  # what was read before a pause is uploaded by the next reading, or here
                    if self._interval is None and self._lines:
                        self._upload()
                elif self._interval is not None:
                    next_upload = self._add(gauges.read(), next_upload)
            if self._interval is not None:
                self._add(gauges.read(), 0.0)
        if self._lines:
            self._upload()

    def _add(self, rows: list[dict[str, Any]], next_upload: float) -> float:
        now = time.time()
        minute = int(now // 60) * 60
        if minute != self._minute:
            if self._lines:
                self._upload()
            self._minute, self._lines = minute, []
            next_upload = 0.0
        self._lines += [json.dumps({**row, "NodeId": _NODE, "Timestamp": round(now, 3)}) for row in rows]
        if now < next_upload:
            return next_upload
        self._upload()
        return now + _UPLOAD_SECONDS

    def _upload(self) -> None:
        hour = time.strftime("%Y%m%d%H", time.gmtime(self._minute))
        uri = join_uri(self._uri, "system", "incremental", hour, f"{self._minute:010d}.{_NODE}.json")
        try:
            with self._objects.writing(uri) as file:
                file.write("".join(f"{line}\n" for line in self._lines).encode())
        except STORE_ERRORS as error:
            if not self._warned:
                self._warn(f"{uri}: system metrics are not uploaded ({error}).")
            self._warned = True


class MachineGauges:
    """Readings of cores, memory, disks, network and GPUs since the last call.

    nvml: the module `pynvml`, or one like it.
    """

    def __init__(self, nvml: Any = None) -> None:
        self._stack = ExitStack()
        self._gpus = _Gpus(self._stack, nvml)
        self._time, self._bytes, self._operations = time.monotonic(), _network_bytes(), _disk_operations()
        psutil.cpu_times_percent(percpu=True)  # the first call has nothing to compare with

    def __enter__(self) -> MachineGauges:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self) -> list[dict[str, Any]]:
        """Return rows with Type, Name, Dimension and Value: percent, operations a second, bytes a second."""
        now = time.monotonic()
        seconds = max(now - self._time, 1e-3)
        received, sent = _network_bytes()
        operations = _disk_operations()
        rows = list(_cpu_rows())
        rows.append(_row("memory", "memory", "MemoryUsedPercent", psutil.virtual_memory().percent))
        rows.append(_row("i/o", "disk", "IOPS", (operations - self._operations) / seconds))
        for dimension, value in (("BytesReceived", received - self._bytes[0]), ("BytesSent", sent - self._bytes[1])):
            rows.append(_row("network", "network", dimension, value / seconds))
        rows += self._gpus.rows(now)
        self._time, self._bytes, self._operations = now, (received, sent), operations
        return rows


class _Gpus:
    """Readings of NVIDIA GPUs; none where there is no driver."""

    def __init__(self, stack: ExitStack, nvml: Any) -> None:
        self._handles: list[Any] = []
        self._next, self._rows = 0.0, list[dict[str, Any]]()
        self._nvml = nvml or importlib.import_module("pynvml")
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError:  # the package is there on every machine, the driver behind it is not
            return
        stack.callback(self._nvml.nvmlShutdown)
        self._handles = [self._nvml.nvmlDeviceGetHandleByIndex(n) for n in range(self._nvml.nvmlDeviceGetCount())]

    def rows(self, now: float) -> list[dict[str, Any]]:
        if self._handles and now >= self._next:
            self._next = now + _SLOWEST_GPU
            self._rows = [
                row for number, handle in enumerate(self._handles) for row in self._read(f"gpu{number}", handle)
            ]
        return self._rows

    def _read(self, name: str, handle: Any) -> Iterator[dict[str, Any]]:
        try:
            memory, load = self._nvml.nvmlDeviceGetMemoryInfo(handle), self._nvml.nvmlDeviceGetUtilizationRates(handle)
        except self._nvml.NVMLError:  # a slice of a GPU has no such reading
            return
        yield _row("gpu", name, "GPUUtilization", load.gpu)
        yield _row("gpu", name, "GPUMemoryUtilization", 100 * memory.used / memory.total)


def _cpu_rows() -> Iterator[dict[str, Any]]:
    for number, core in enumerate(psutil.cpu_times_percent(percpu=True)):
        waiting = getattr(core, "iowait", 0.0)
        yield _row("cpu", f"cpu{number}", "CPUUtilization", max(0.0, 100 - core.idle - waiting))
        yield _row("i/o", f"cpu{number}", "I/OWaitPercentage", waiting)


def _row(kind: str, name: str, dimension: str, value: float) -> dict[str, Any]:
    return {"Type": kind, "Name": name, "Dimension": dimension, "Value": round(float(value), 2)}


def _network_bytes() -> tuple[int, int]:
    counters = psutil.net_io_counters()
    return (counters.bytes_recv, counters.bytes_sent) if counters else (0, 0)


def _disk_operations() -> int:
    counters = psutil.disk_io_counters()
    return counters.read_count + counters.write_count if counters else 0
