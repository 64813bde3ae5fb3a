"""GpuGauges: readings of NVML in CUDA's order; unsupported values are absent. The library is a stand-in."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from clearsight.profiler.gauges.gpu import GpuGauges

GIB = 1 << 30


class Failure(Exception):
    """Error with a number, like the library's."""

    def __init__(self, value: int) -> None:
        self.value = value


class Library:
    """Stand-in for the part of pynvml that is used. silent: error numbers by (function, GPU) that fails."""

    NVMLError = Failure
    NVML_ERROR_NO_PERMISSION, NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_UNKNOWN = 4, 3, 999
    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU, NVML_PCIE_UTIL_TX_BYTES, NVML_PCIE_UTIL_RX_BYTES = 1, 0, 0, 1

    def __init__(self, uuids: list[str], silent: dict[tuple[str, int], int] | None = None) -> None:
        self.uuids, self.silent = uuids, silent or {}
        self.open, self.calls = 0, list[str]()

    def nvmlInit(self) -> None:  # noqa: N802 - the library's names
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.uuids)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        if uuid != "MIG-7":
            raise Failure(6)
        return 7

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in READINGS:
            raise AttributeError(name)

        def read(handle: int, *arguments: int) -> Any:
            self.calls.append(name)
            if (name, handle) in self.silent:
                raise Failure(self.silent[name, handle])
            return READINGS[name](self, handle, *arguments)

        return read


READINGS: dict[str, Callable[..., Any]] = {
    "nvmlDeviceGetUUID": lambda library, handle: library.uuids[handle],
    "nvmlDeviceGetName": lambda library, handle: f"Card {handle}".encode(),
    "nvmlDeviceGetUtilizationRates": lambda library, handle: SimpleNamespace(gpu=50 + handle, memory=3),
    "nvmlDeviceGetMemoryInfo": lambda library, handle: SimpleNamespace(total=16 * GIB, used=(4 + handle) * GIB, free=0),
    "nvmlDeviceGetPowerUsage": lambda library, handle: 120_500,
    "nvmlDeviceGetClockInfo": lambda library, handle, kind: 1410,
    "nvmlDeviceGetTemperature": lambda library, handle, sensor: 61,
    "nvmlDeviceGetPcieThroughput": lambda library, handle, direction: 2_000 if direction == 1 else 30,
}


def two(**silent: Any) -> Library:
    return Library(["GPU-aa11", "GPU-ab22"], **silent)


def test_all_gauges_of_two_gpus() -> None:
    values = GpuGauges(nvml=two()).read()
    first = {
        "gpu0": 50.0,
        "gpu0.memory": 25.0,
        "gpu0.memory_bytes": 4.0 * GIB,
        "gpu0.power": 120.5,
        "gpu0.clock": 1410.0,
        "gpu0.temperature": 61.0,
        "gpu0.pcie_received": 2e6,
        "gpu0.pcie_sent": 3e4,
    }
    assert {name: value for name, value in values.items() if name.startswith("gpu0")} == first
    assert values["gpu1"] == 51.0
    assert len(values) == 2 * len(first)


def test_an_unsupported_value_is_absent_and_not_read_again() -> None:
    library = two(silent={("nvmlDeviceGetPowerUsage", 1): Library.NVML_ERROR_NOT_SUPPORTED})
    gpus = GpuGauges(nvml=library)
    gpus.read()
    library.calls.clear()
    values = gpus.read()
    assert "gpu0.power" in values
    assert "gpu1.power" not in values
    assert library.calls.count("nvmlDeviceGetPowerUsage") == 1


def test_a_value_that_fails_once_is_read_again() -> None:
    library = two(silent={("nvmlDeviceGetPowerUsage", 0): Library.NVML_ERROR_UNKNOWN})
    gpus = GpuGauges(nvml=library)
    assert "gpu0.power" not in gpus.read()
    library.silent.clear()
    assert "gpu0.power" in gpus.read()


def test_pcie_traffic_is_not_read_in_every_sample() -> None:
    library = two()
    gpus = GpuGauges(nvml=library)
    assert "gpu0.pcie_sent" in gpus.read()
    assert "gpu0.pcie_sent" not in gpus.read()


@pytest.mark.parametrize(
    ("visible", "utilisation"),
    [
        (None, [50, 51]),
        (["1"], [51]),
        (["1", "0"], [51, 50]),
        (["GPU-ab22"], [51]),
        (["GPU-ab"], [51]),
        ([" 0", "9", "1"], [50]),  # CUDA stops at the first entry without a GPU
        (["0", "-1", "1"], [50]),
        (["0", "GPU-a"], [50]),  # matches both
        (["MIG-7"], [57]),
        (["0", "MIG-8"], [50]),
    ],
)
def test_cuda_visible_devices(visible: list[str] | None, utilisation: list[int]) -> None:
    values = GpuGauges(visible, nvml=two()).read()
    assert [values[f"gpu{place}"] for place in range(len(utilisation))] == utilisation
    assert f"gpu{len(utilisation)}" not in values


@pytest.mark.parametrize("visible", [[], [""], ["-1"], ["2"], ["NoDevFiles"]])
def test_without_a_visible_gpu_there_is_no_source_and_nvml_is_shut_down(visible: list[str]) -> None:
    library = two()
    with pytest.raises(LookupError):
        GpuGauges(visible, nvml=library)
    assert library.open == 0


def test_product_names_and_closing() -> None:
    library = two(silent={("nvmlDeviceGetName", 1): Library.NVML_ERROR_UNKNOWN})
    gpus = GpuGauges(nvml=library)
    assert gpus.models == ["Card 0", ""]
    gpus.close()
    assert library.open == 0


def test_pynvml_has_every_name_that_is_used() -> None:
    pynvml = pytest.importorskip("pynvml")
    used = [*READINGS, *(name for name in vars(Library) if name.startswith(("nvml", "NVML")))]
    assert [name for name in used if not hasattr(pynvml, name)] == []
    assert pynvml.NVML_ERROR_NOT_SUPPORTED == Library.NVML_ERROR_NOT_SUPPORTED
    assert hasattr(pynvml.NVMLError(3), "value")
