"""Gpus: what the library says, by CUDA's order, and absent where a GPU does not say. The library is a stand-in."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from clearsight.profiler.gauges.gpu import GpuGauges

GIB = 1 << 30


class Failure(Exception):
    """As the library's errors: with a number."""

    def __init__(self, value: int) -> None:
        self.value = value


class Library:
    """A machine of some GPUs, as much of pynvml as is used. silent: what which GPU refuses to say, and why."""

    NVMLError = Failure
    NVML_ERROR_NO_PERMISSION, NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_UNKNOWN = 4, 3, 999
    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU, NVML_PCIE_UTIL_TX_BYTES, NVML_PCIE_UTIL_RX_BYTES = 1, 0, 0, 1

    def __init__(self, uuids: list[str], silent: dict[tuple[str, int], int] | None = None) -> None:
        self.uuids, self.silent = uuids, silent or {}
        self.open, self.asked = 0, list[str]()

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
        if name not in ANSWERS:
            raise AttributeError(name)

        def answer(handle: int, *what: int) -> Any:
            self.asked.append(name)
            if (name, handle) in self.silent:
                raise Failure(self.silent[name, handle])
            return ANSWERS[name](self, handle, *what)

        return answer


ANSWERS: dict[str, Callable[..., Any]] = {
    "nvmlDeviceGetUUID": lambda library, handle: library.uuids[handle],
    "nvmlDeviceGetName": lambda library, handle: f"Card {handle}".encode(),
    "nvmlDeviceGetUtilizationRates": lambda library, handle: SimpleNamespace(gpu=50 + handle, memory=3),
    "nvmlDeviceGetMemoryInfo": lambda library, handle: SimpleNamespace(total=16 * GIB, used=(4 + handle) * GIB, free=0),
    "nvmlDeviceGetPowerUsage": lambda library, handle: 120_500,
    "nvmlDeviceGetClockInfo": lambda library, handle, kind: 1410,
    "nvmlDeviceGetTemperature": lambda library, handle, sensor: 61,
    "nvmlDeviceGetPcieThroughput": lambda library, handle, way: 2_000 if way == 1 else 30,
}


def two(**silent: Any) -> Library:
    return Library(["GPU-aa11", "GPU-ab22"], **silent)


def test_everything_that_two_gpus_say() -> None:
    told = GpuGauges(nvml=two()).read()
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
    assert {name: value for name, value in told.items() if name.startswith("gpu0")} == first
    assert told["gpu1"] == 51.0
    assert len(told) == 2 * len(first)


def test_what_a_gpu_does_not_support_is_absent_and_not_asked_again() -> None:
    library = two(silent={("nvmlDeviceGetPowerUsage", 1): Library.NVML_ERROR_NOT_SUPPORTED})
    gpus = GpuGauges(nvml=library)
    gpus.read()
    library.asked.clear()
    told = gpus.read()
    assert "gpu0.power" in told
    assert "gpu1.power" not in told
    assert library.asked.count("nvmlDeviceGetPowerUsage") == 1


def test_what_fails_once_is_asked_again() -> None:
    library = two(silent={("nvmlDeviceGetPowerUsage", 0): Library.NVML_ERROR_UNKNOWN})
    gpus = GpuGauges(nvml=library)
    assert "gpu0.power" not in gpus.read()
    library.silent.clear()
    assert "gpu0.power" in gpus.read()


def test_traffic_is_not_asked_for_at_every_look() -> None:
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
        ([" 0", "9", "1"], [50]),  # CUDA stops at the first that there is not
        (["0", "-1", "1"], [50]),
        (["0", "GPU-a"], [50]),  # could be either
        (["MIG-7"], [57]),
        (["0", "MIG-8"], [50]),
    ],
)
def test_cuda_visible_devices(visible: list[str] | None, utilisation: list[int]) -> None:
    told = GpuGauges(visible, nvml=two()).read()
    assert [told[f"gpu{place}"] for place in range(len(utilisation))] == utilisation
    assert f"gpu{len(utilisation)}" not in told


@pytest.mark.parametrize("visible", [[], [""], ["-1"], ["2"], ["NoDevFiles"]])
def test_none_visible_is_no_source_and_nothing_stays_open(visible: list[str]) -> None:
    library = two()
    with pytest.raises(LookupError):
        GpuGauges(visible, nvml=library)
    assert library.open == 0


def test_models_and_closing() -> None:
    library = two(silent={("nvmlDeviceGetName", 1): Library.NVML_ERROR_UNKNOWN})
    gpus = GpuGauges(nvml=library)
    assert gpus.models == ["Card 0", ""]
    gpus.close()
    assert library.open == 0


def test_the_library_has_every_name_that_is_used() -> None:
    pynvml = pytest.importorskip("pynvml")
    used = [*ANSWERS, *(name for name in vars(Library) if name.startswith(("nvml", "NVML")))]
    assert [name for name in used if not hasattr(pynvml, name)] == []
    assert pynvml.NVML_ERROR_NOT_SUPPORTED == Library.NVML_ERROR_NOT_SUPPORTED
    assert hasattr(pynvml.NVMLError(3), "value")
