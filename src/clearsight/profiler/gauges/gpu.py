"""Gauges of GPUs, from NVIDIA's management library (NVML). Tested with a stand-in for the library, not on a GPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from clearsight.profiler.gauges.source import GaugeSource, ThrottledReading

# Takes the library and the handle of a GPU, and returns values by the suffix of their gauges' names.
Probe = Callable[[Any, Any], Mapping[str, float]]


@dataclass(slots=True)
class Gpu:
    """GPU with its name in gauges ("gpu0"), its handle in the library, and the probes that it supports."""

    name: str
    handle: Any
    probes: list[Probe] = field(default_factory=list)


class GpuGauges(GaugeSource):
    """Gauges gpu0, gpu0.memory, gpu0.memory_bytes, gpu0.power, gpu0.clock, gpu0.temperature, gpu0.pcie_received, ...

    visible: the entries of CUDA_VISIBLE_DEVICES (numbers, or UUIDs of GPUs or of MIG slices), None where it is not set;
    gpu0 is the first of them, as in torch. Numbers are in the order of the PCI bus: where CUDA orders by speed instead
    and the machine has different GPUs, set CUDA_DEVICE_ORDER=PCI_BUS_ID.
    Values that a GPU does not support are absent. PCIe traffic is read every 5 s: the driver blocks for 20 ms to
    measure it.
    nvml: the module `pynvml`, or one like it. Raises its errors where there is no driver, LookupError where no GPU is
    visible.
    """

    def __init__(self, visible: Sequence[str] | None = None, *, nvml: Any = None) -> None:
        # Imported when it is needed: the package is there on every machine, the driver behind it is not.
        self._nvml = importlib.import_module("pynvml") if nvml is None else nvml
        self._nvml.nvmlInit()
        with ExitStack() as stack:  # every nvmlInit needs its nvmlShutdown
            stack.callback(self._nvml.nvmlShutdown)
            handles = visible_handles(self._nvml, visible)
            if not handles:
                raise LookupError("no GPU is visible")
            stack.pop_all()  # all is well: `close` shuts it down
        self._gpus = [Gpu(f"gpu{place}", handle, list(_PROBES)) for place, handle in enumerate(handles)]
        traffic_gpus = [Gpu(gpu.name, gpu.handle, list(_TRAFFIC)) for gpu in self._gpus]
        self._traffic = ThrottledReading(lambda: self._query(traffic_gpus))

    @property
    def models(self) -> list[str]:
        """Return the product name of each visible GPU, such as "NVIDIA A100-SXM4-40GB"; "" where it is not known."""
        return [_model(self._nvml, gpu.handle) for gpu in self._gpus]

    def read(self) -> Mapping[str, float]:
        return {**self._query(self._gpus), **self._traffic.read()}

    def close(self) -> None:
        self._nvml.nvmlShutdown()

    def _query(self, gpus: Sequence[Gpu]) -> dict[str, float]:
        values: dict[str, float] = {}
        for gpu in gpus:
            for probe in list(gpu.probes):
                try:
                    readings = probe(self._nvml, gpu.handle)
                except self._nvml.NVMLError as error:
                    if error.value in (self._nvml.NVML_ERROR_NOT_SUPPORTED, self._nvml.NVML_ERROR_NO_PERMISSION):
                        gpu.probes.remove(probe)
                    continue  # other errors may be temporary: the value is absent in this sample only
                values |= {gpu.name + suffix: value for suffix, value in readings.items()}
        return values


def visible_handles(nvml: Any, visible: Sequence[str] | None) -> list[Any]:
    """Return the handles of the visible GPUs, in CUDA's order: CUDA stops at the first entry that names no GPU.

    Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
    """
    every = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    if visible is None:
        return every
    handles: list[Any] = []
    for entry in (word.strip() for word in visible):
        handle = _find(nvml, every, entry)
        if handle is None:
            break
        handles.append(handle)
    return handles


def _find(nvml: Any, every: Sequence[Any], entry: str) -> Any:
    """Return the handle that an entry names, or None. A GPU's UUID may be shortened as long as one GPU alone fits."""
    if entry.isdecimal():
        return every[int(entry)] if int(entry) < len(every) else None
    if entry.startswith("GPU-"):
        starts = [handle for handle in every if _text(nvml.nvmlDeviceGetUUID(handle)).startswith(entry)]
        return starts[0] if len(starts) == 1 else None
    if entry.startswith("MIG-"):
        try:
            return nvml.nvmlDeviceGetHandleByUUID(entry)
        except nvml.NVMLError:
            return None
    return None


def _model(nvml: Any, handle: Any) -> str:
    try:
        return _text(nvml.nvmlDeviceGetName(handle))
    except nvml.NVMLError:
        return ""


def _text(text: str | bytes) -> str:
    # Older versions of pynvml return bytes.
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def _memory(nvml: Any, handle: Any) -> dict[str, float]:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {".memory": 100 * memory.used / memory.total, ".memory_bytes": float(memory.used)} if memory.total else {}


_PROBES: tuple[Probe, ...] = (
    lambda nvml, gpu: {"": float(nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)},
    _memory,
    lambda nvml, gpu: {".power": nvml.nvmlDeviceGetPowerUsage(gpu) / 1000},  # mW to W
    lambda nvml, gpu: {".clock": float(nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM))},
    lambda nvml, gpu: {".temperature": float(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU))},
)
_TRAFFIC: tuple[Probe, ...] = (  # KB/s to bytes/s
    lambda nvml, gpu: {".pcie_received": 1000.0 * nvml.nvmlDeviceGetPcieThroughput(gpu, nvml.NVML_PCIE_UTIL_RX_BYTES)},
    lambda nvml, gpu: {".pcie_sent": 1000.0 * nvml.nvmlDeviceGetPcieThroughput(gpu, nvml.NVML_PCIE_UTIL_TX_BYTES)},
)
