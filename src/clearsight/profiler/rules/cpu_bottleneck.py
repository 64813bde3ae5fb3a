"""CPUBottleneck: the cores are fully used while the device is idle."""

from __future__ import annotations

from typing import ClassVar

from clearsight.core.profile import Machine
from clearsight.core.settings import setting
from clearsight.profiler.analysis.window import patience_setting
from clearsight.profiler.rules.idle_device import IdleDeviceRule, Idleness


class CPUBottleneck(IdleDeviceRule):
    """Found when at more than `threshold` per cent of the samples the cores are above `cpu_threshold` and the GPUs in
    use are, on average, below `gpu_threshold`.

    More loader workers do not help then, but less work per image does. Without a GPU the cores are full in every good
    run; there a sample counts if its step spent over half of its time waiting for its batch: the cores prepare images
    and do not train. SageMaker's rule needs a GPU.
    """

    explains = ("LowGPUUtilization", "BatchSize")
    gauge: ClassVar[str] = "cpu"

    cpu_threshold: float = setting(90.0, "use of the cores above which they are full", low=0, below=100, unit="%")
    patience: int | None = patience_setting()

    def limit(self, machine: Machine) -> float:
        # Use of the whole machine counts, because loader workers share the cores with every other process.
        return self.cpu_threshold

    def cause(self, idleness: Idleness, share: float) -> str:
        return (
            f"at {share:.0f} % of {len(idleness.samples)} samples the cores were above {self.cpu_threshold:.0f} % "
            f"while {idleness.description}: preparing images takes all of the processor"
        )

    def advice(self, *, drops_pixels: bool) -> str:
        if drops_pixels:
            return "Keep decoded images in memory between epochs."
        return "Reduce the work per image: store smaller images, or use a lighter augmentation."
