"""GPUs, by NVIDIA's management library. Written to its documentation, tested with a stand-in, not yet run on a GPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clearsight.profiler.gauges.throttle import ThrottledReading

# A reading of one GPU: of the library and the GPU's handle to values by the end of their names.
Probe = Callable[[Any, Any], Mapping[str, float]]


@dataclass(slots=True)
class Gpu:
    """One GPU: its name in gauges ("gpu0"), the library's handle of it, and what it can be asked for."""

    name: str
    handle: Any
    probes: list[Probe] = field(default_factory=list)


class GpuGauges:
    """gpu0, gpu0.memory, gpu0.memory_bytes, gpu0.power, gpu0.clock, gpu0.temperature, gpu0.pcie_received, ...

    visible: the entries of CUDA_VISIBLE_DEVICES (numbers, or UUIDs of GPUs or of MIG slices), None where it is not set;
    gpu0 is the first of them, as in torch. Numbers are in the order of the PCI bus: where CUDA orders by speed instead
    and the machine has different GPUs, set CUDA_DEVICE_ORDER=PCI_BUS_ID.
    What a GPU does not support is absent. Traffic over PCIe is asked for every 5 s: the driver counts for 20 ms then.
    nvml: the module `pynvml`, or one like it. Raises what it raises where there is no driver, LookupError where no GPU
    is visible.
    """

    def __init__(self, visible: Sequence[str] | None = None, *, nvml: Any = None) -> None:
        self._nvml = importlib.import_module("pynvml") if nvml is None else nvml
        self._nvml.nvmlInit()
        try:
            handles = visible_handles(self._nvml, visible)
            if not handles:
                raise LookupError("no GPU is visible")
        except BaseException:
            self._nvml.nvmlShutdown()
            raise
        self._gpus = [Gpu(f"gpu{place}", handle, list(_PROBES)) for place, handle in enumerate(handles)]
        self._traffic = ThrottledReading(self._read_traffic)
        self._traced = [Gpu(gpu.name, gpu.handle, list(_TRAFFIC)) for gpu in self._gpus]

    @property
    def models(self) -> list[str]:
        """What each visible GPU calls itself, "NVIDIA A100-SXM4-40GB"; "" where it does not say."""
        return [_model(self._nvml, gpu.handle) for gpu in self._gpus]

    def read(self) -> Mapping[str, float]:
        return {**self._ask(self._gpus), **self._traffic.read()}

    def close(self) -> None:
        self._nvml.nvmlShutdown()

    def _read_traffic(self) -> Mapping[str, float]:
        return self._ask(self._traced)

    def _ask(self, gpus: Sequence[Gpu]) -> dict[str, float]:
        values: dict[str, float] = {}
        for gpu in gpus:
            for probe in list(gpu.probes):
                try:
                    told = probe(self._nvml, gpu.handle)
                except self._nvml.NVMLError as error:
                    if error.value in (self._nvml.NVML_ERROR_NOT_SUPPORTED, self._nvml.NVML_ERROR_NO_PERMISSION):
                        gpu.probes.remove(probe)
                    continue  # anything else may pass: this value is absent in this look
                values |= {gpu.name + end: value for end, value in told.items()}
        return values


def visible_handles(nvml: Any, visible: Sequence[str] | None) -> list[Any]:
    """The library's handles of the visible GPUs, in CUDA's order: it stops at the first entry that names none.

    Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
    """
    every = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    if visible is None:
        return every
    found: list[Any] = []
    for entry in (word.strip() for word in visible):
        handle = _named(nvml, every, entry)
        if handle is None:
            break
        found.append(handle)
    return found


def _named(nvml: Any, every: Sequence[Any], entry: str) -> Any:
    """The handle that an entry names, or None. A GPU's UUID may be cut short where that is still one GPU's alone."""
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


def _text(said: str | bytes) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said


def _utilisation(nvml: Any, handle: Any) -> dict[str, float]:
    return {"": float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)}


def _memory(nvml: Any, handle: Any) -> dict[str, float]:
    told = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {".memory": 100 * told.used / told.total, ".memory_bytes": float(told.used)} if told.total else {}


def _power(nvml: Any, handle: Any) -> dict[str, float]:
    return {".power": nvml.nvmlDeviceGetPowerUsage(handle) / 1000}


def _clock(nvml: Any, handle: Any) -> dict[str, float]:
    return {".clock": float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))}


def _temperature(nvml: Any, handle: Any) -> dict[str, float]:
    return {".temperature": float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))}


def _received(nvml: Any, handle: Any) -> dict[str, float]:
    return {".pcie_received": 1000.0 * nvml.nvmlDeviceGetPcieThroughput(handle, nvml.NVML_PCIE_UTIL_RX_BYTES)}


def _sent(nvml: Any, handle: Any) -> dict[str, float]:
    return {".pcie_sent": 1000.0 * nvml.nvmlDeviceGetPcieThroughput(handle, nvml.NVML_PCIE_UTIL_TX_BYTES)}


_PROBES: tuple[Probe, ...] = (_utilisation, _memory, _power, _clock, _temperature)
_TRAFFIC: tuple[Probe, ...] = (_received, _sent)
