"""Runs with one fault each, and healthy ones, for the rules that SageMaker's profiler does not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.profile import Machine, Operator, Profile, Trace
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

MIB = 2**20
PHASES = {"forward": 0.07, "loss": 0.001, "backward": 0.11, "optimizer": 0.008}
GAUGES = {"cpu": 40.0, "cpu.iowait": 1.0, "tree.memory": 3.0 * GIB, "memory.available": 20.0 * GIB}


def waiting(
    *,
    data: Values = 0.2,
    work: float = 0.2,
    load: Mapping[str, Values] | None = None,
    machine: Machine | None = None,
    gauges: Mapping[str, Values] | None = None,
    **more: Any,
) -> Profile:
    """A run on eight cores whose steps compute for `work` seconds and wait for `data`."""
    decoding = {"read": 0.02, "decode": 0.3, "augment": 0.04, "collate": 0.01, "images": 32, "bytes": 32 * 60_000}
    shape = {"steps": 200, "noise": 0.05, "seed": 3} | more
    return profile(
        seconds=np.asarray(data) + work,
        phases={"data": data, **{name: spent * work / 0.2 for name, spent in PHASES.items()}},
        load=decoding if load is None else load,
        gauges=GAUGES if gauges is None else gauges,
        machine=machine or replace(CPU_MACHINE, workers=2, pixels_kept=False),
        **shape,
    )


def growing(
    *, steps: int = 200, a_step: float = 2 * MIB, seconds: float = 0.25, machine: Machine | None = None, **more: Any
) -> Profile:
    """A run whose memory grows from 1 GiB by `a_step` bytes a step, with the noise of an allocator."""
    samples = int(np.ceil((steps * seconds) / 0.5)) + 1
    memory = GIB + a_step * np.linspace(0, steps, samples) + _allocator_noise(samples)
    return profile(
        steps=steps,
        seconds=seconds,
        phases={"data": 0.004, "forward": 0.08, "backward": 0.12},
        gauges={"tree.memory": memory, "memory.available": 20.0 * GIB - a_step * np.linspace(0, steps, samples)},
        machine=machine or CPU_MACHINE,
        **({"per_epoch": 50} | more),
    )


def _allocator_noise(samples: int, seed: int = 5) -> npt.NDArray[np.float64]:
    return 6 * MIB * np.random.default_rng(seed).standard_normal(samples)


def slow_reading(**more: Any) -> Profile:
    """Each loader worker reads 12 MB a second."""
    slow = {"read": 0.6, "decode": 0.1, "augment": 0.03, "collate": 0.01, "images": 32, "bytes": 32 * 225_000}
    return waiting(**({"load": slow} | more))


def crowded(*, threads: int = 16, switches: Values = 8 * 1200.0, machine: Machine | None = None) -> Profile:
    """Twice as many compute threads as cores."""
    return profile(
        seconds=0.5,
        phases={"data": 0.004, "forward": 0.2, "backward": 0.29},
        gauges={"cpu": 99.0, "tree.switches": switches},
        machine=machine or replace(CPU_MACHINE, threads=threads),
        noise=0.1,
    )


def worker_processes(*, shm: float = 0.25 * GIB, gauges: Mapping[str, Values] | None = None, **changes: Any) -> Profile:
    """Eight worker processes, two batches of 19 MB ahead each: 308 MB."""
    machine = replace(CPU_MACHINE, **({"reading": "processes", "prefetch": 2, "shm_bytes": int(shm)} | changes))
    return profile(seconds=0.2, phases={"data": 0.004, "forward": 0.19}, gauges=gauges, machine=machine)


def traced(
    *, kernel: float, kernels: int, host: float, gpu: bool = True, machine: Machine | None = None, **more: Any
) -> Profile:
    """A run whose steps 12 to 17 were traced. kernel: seconds of each of `kernels` a step."""
    operators = (
        Operator(name="aten::add_", calls=6 * kernels // 2, cpu_seconds=0.1),
        Operator(name="aten::mul_", calls=6 * kernels // 4, cpu_seconds=0.1),
    )
    seconds = host + 0.005
    trace = Trace(
        first=12, last=17, seconds=6 * seconds, operators=operators, kernels=6 * kernels,
        kernel_seconds=6 * kernels * kernel,
    )  # fmt: skip
    return profile(
        seconds=seconds,
        phases={"data": 0.005, "forward": 0.35 * host, "backward": 0.45 * host, "optimizer": 0.2 * host},
        trace=trace,
        machine=machine or (GPU_MACHINE if gpu else CPU_MACHINE),
        **more,
    )


def with_trace(healthy: Profile, trace: Trace) -> Profile:
    """A profile with a trace."""
    return Profile(healthy.machine, healthy.gauge_samples, healthy.step_times, healthy.all_spans, trace)


def _large_kernels() -> Profile:
    """30 of 6 ms on the GPU for every step of 0.2 s."""
    trace = Trace(first=12, last=17, seconds=1.2, kernels=6 * 30, kernel_seconds=6 * 30 * 0.006)
    return with_trace(healthy_gpu(), trace)


def _processes_with_room() -> Profile:
    healthy = healthy_cpu()
    machine = replace(healthy.machine, reading="processes", prefetch=2)
    return Profile(machine, healthy.gauge_samples, healthy.step_times, healthy.all_spans)


FAULTS: dict[str, Callable[[], Tape]] = {
    "DataWait": lambda: profiled(waiting()),
    "MemoryLeak": lambda: profiled(growing()),
    "PaddingWaste": lambda: profiled(waiting(data=0.004, padding=0.4)),
    "SharedMemoryShort": lambda: profiled(worker_processes()),
    "SlowStorage": lambda: profiled(slow_reading()),
    "SmallKernels": lambda: profiled(traced(kernel=4e-6, kernels=2500, host=0.05)),
    "ThreadOversubscription": lambda: profiled(crowded()),
}

CONTROLS: dict[str, Callable[[], Tape]] = {
    "DataWait": lambda: profiled(healthy_cpu()),
    "MemoryLeak": lambda: profiled(healthy_cpu(seed=1)),
    "PaddingWaste": lambda: profiled(healthy_gpu()),
    "SharedMemoryShort": lambda: profiled(_processes_with_room()),
    "SlowStorage": lambda: profiled(healthy_cpu(seed=2)),
    "SmallKernels": lambda: profiled(_large_kernels()),
    "ThreadOversubscription": lambda: profiled(healthy_cpu(seed=3)),
}
