"""IOBottleneck: the cores wait for storage while the device is idle."""

from __future__ import annotations

from typing import ClassVar

from clearsight.core.profile import Machine
from clearsight.core.settings import setting
from clearsight.profiler.analysis.window import patience_setting
from clearsight.profiler.rules.idle_device import IdleDeviceRule, Idleness


class IOBottleneck(IdleDeviceRule):
    """Found when at more than `threshold` per cent of the samples the loader workers wait for storage for over
    `io_threshold` of their time and the GPUs in use are, on average, below `gpu_threshold`.

    A worker that waits makes one core wait: with 4 workers on 16 cores, all of them waiting is 25 % of the cores' time.
    `io_threshold` is therefore a share of the time that the workers can make cores wait. SageMaker's is a share of all
    cores, which fewer workers than cores cannot reach. Without a GPU a sample counts if its step spent over half of its
    time waiting for its batch; SageMaker's rule needs a GPU.
    """

    explains = ("LowGPUUtilization", "BatchSize")
    gauge: ClassVar[str] = "cpu.iowait"

    io_threshold: float = setting(
        50.0, "share of the loader workers' time spent waiting for storage", low=0, below=100, unit="%"
    )
    patience: int | None = patience_setting()

    def limit(self, machine: Machine) -> float:
        if machine.workers is None or not machine.cores:
            return self.io_threshold  # workers unknown: assume that they can make all cores wait
        # The training thread loads by itself without workers, and then makes one core wait.
        return self.io_threshold * min(1.0, max(1, machine.workers) / machine.cores)

    def cause(self, idleness: Idleness, share: float) -> str:
        mean = idleness.samples.values[self.gauge].mean()
        return (
            f"at {share:.0f} % of {len(idleness.samples)} samples the loader workers waited for storage while "
            f"{idleness.description}; on average they waited for {mean:.0f} % of the cores' time"
        )

    def advice(self, *, drops_pixels: bool) -> str:
        return "Copy the images to a local disk, or read them from one archive instead of many small files."
