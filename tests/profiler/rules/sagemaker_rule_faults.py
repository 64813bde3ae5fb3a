"""Runs with one fault each, and healthy ones, for the rules that SageMaker's profiler has too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from clearsight.core.profile import Machine
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.profiles import (
    CPU_MACHINE,
    GIB,
    GPU_MACHINE,
    Values,
    healthy_cpu,
    healthy_gpu,
    profile,
    profiled,
)

GPU_PHASES: Mapping[str, Values] = {
    "data": 0.003,
    "transfer": 0.003,
    "forward": 0.06,
    "loss": 0.001,
    "backward": 0.12,
    "optimizer": 0.01,
}
WAITING: Mapping[str, Values] = {"data": 0.14, "forward": 0.02, "backward": 0.03}


def on_gpu(
    *,
    gauges: Mapping[str, Values],
    phases: Mapping[str, Values] = GPU_PHASES,
    machine: Machine = GPU_MACHINE,
    seconds: Values = 0.2,
    steps: int = 300,
) -> Tape:
    """Return a run on a GPU whose gauges are healthy except for the given ones."""
    healthy: dict[str, Values] = {
        "cpu": 50.0,
        "cpu.iowait": 0.5,
        "memory": 35.0,
        "memory.available": 20.0 * GIB,
        "tree.cpu": 45.0,
        "gpu0": 92.0,
        "gpu0.memory": 80.0,
    }
    measured = profile(
        steps=steps, seconds=seconds, phases=phases, gauges={**healthy, **gauges}, machine=machine, noise=0.02
    )
    return profiled(measured)


def on_cpu(
    *,
    gauges: Mapping[str, Values] | None = None,
    phases: Mapping[str, Values] | None = None,
    machine: Machine = CPU_MACHINE,
    seconds: Values = 0.2,
    steps: int = 300,
    pauses: Mapping[str, Mapping[int, float]] | None = None,
) -> Tape:
    """Return a run on a processor whose gauges are healthy except for the given ones."""
    healthy: dict[str, Values] = {
        "cpu": 93.0,
        "cpu.iowait": 0.4,
        "memory": 30.0,
        "memory.available": 22.0 * GIB,
        "tree.cpu": 92.0,
    }
    healthy_phases: Mapping[str, Values] = {"data": 0.004, "forward": 0.07, "backward": 0.11, "optimizer": 0.01}
    measured = profile(
        steps=steps,
        seconds=seconds,
        phases=healthy_phases if phases is None else phases,
        gauges={**healthy, **(gauges or {})},
        machine=machine,
        pauses=pauses,
        noise=0.03,
    )
    return profiled(measured)


def small_batches() -> Tape:
    """Nothing is used to the full, and steps wait for nothing."""
    return on_gpu(gauges={"cpu": 30.0, "gpu0": 40.0, "gpu0.memory": 25.0})


def full_cores() -> Tape:
    """The cores prepare images while the GPU has nothing to do."""
    return on_gpu(gauges={"cpu": 98.0, "gpu0": 5.0}, phases=WAITING)


def slow_disk() -> Tape:
    """All eight loader workers wait for storage."""
    return on_gpu(gauges={"cpu": 20.0, "cpu.iowait": 80.0, "gpu0": 5.0}, phases=WAITING)


def one_worker() -> Tape:
    """One loader worker on eight cores, and training waits for it."""
    return on_cpu(gauges={"cpu": 35.0, "tree.cpu": 35.0}, phases=WAITING, machine=replace(CPU_MACHINE, workers=1))


def leaking_gpu() -> Tape:
    """The memory of the GPU grows all the time."""
    return on_gpu(gauges={"gpu0.memory": np.linspace(40, 75, 60)})


def lopsided() -> Tape:
    """Of two GPUs one has twice the work."""
    return on_gpu(
        gauges={"gpu1": 40.0, "gpu1.memory": 80.0}, machine=replace(GPU_MACHINE, gpus=2)
    )  # fmt: skip


def idle_gpu() -> Tape:
    """The GPU waits for its batches."""
    return on_gpu(gauges={"gpu0": 30.0}, phases=WAITING)


def slow_start() -> Tape:
    """Three minutes pass before one minute of training."""
    return profiled(profile(steps=300, seconds=0.2, gauges={"cpu": 12.0}, initialisation=180.0))


def long_steps() -> Tape:
    """Every fortieth step takes five times as long, waiting for its batch."""
    data, seconds = np.full(300, 0.004), np.full(300, 0.2)
    data[19::40], seconds[19::40] = 0.8, 1.0
    return on_cpu(seconds=seconds, phases={"data": data, "forward": 0.07, "backward": 0.11, "optimizer": 0.01})


def cpu() -> Tape:
    """A healthy run on a processor."""
    return profiled(healthy_cpu())


def gpu() -> Tape:
    """A healthy run on a GPU."""
    return profiled(healthy_gpu())


def two_gpus() -> Tape:
    """A healthy run on two."""
    return profiled(healthy_gpu(gpus=2))


FAULTS: dict[str, Callable[[], Tape]] = {
    "BatchSize": small_batches,
    "CPUBottleneck": full_cores,
    "Dataloader": one_worker,
    "GPUMemoryIncrease": leaking_gpu,
    "IOBottleneck": slow_disk,
    "LoadBalancing": lopsided,
    "LowGPUUtilization": idle_gpu,
    "MaxInitializationTime": slow_start,
    "StepOutlier": long_steps,
    "ProfilerReport": full_cores,
}

CONTROLS: dict[str, Callable[[], Tape]] = {
    "BatchSize": gpu,
    "CPUBottleneck": gpu,
    "Dataloader": cpu,
    "GPUMemoryIncrease": gpu,
    "IOBottleneck": cpu,
    "LoadBalancing": two_gpus,
    "LowGPUUtilization": cpu,
    "MaxInitializationTime": cpu,
    "OverallSystemUsage": gpu,
    "OverallFrameworkMetrics": cpu,
    "StepOutlier": cpu,
    "ProfilerReport": gpu,
}
