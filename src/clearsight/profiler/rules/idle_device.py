"""IdleDeviceRule: base of the rules that find one gauge too high while the device is idle.

With a GPU its own gauge tells. Without one the processor is the device, and it is never idle while it prepares images:
there the training thread is idle, which is when a step spends most of its time waiting for its batch.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Finding
from clearsight.core.profile import Machine
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.window import Window, sample_window, used_gpus, wait_shares
from clearsight.profiler.rules.speed_rule import SampleRule

_MAINLY_WAITING = 0.5  # share of a step


@dataclass(frozen=True, slots=True)
class Idleness:
    """Samples during training with (T,) bool: True where the device was idle. description: how that was seen.

    gpus: gauges of the GPUs that were compared, () without a GPU.
    """

    samples: Window
    idle: npt.NDArray[np.bool_]
    description: str
    gpus: tuple[str, ...]


class IdleDeviceRule(SampleRule):
    """Found when at more than `threshold` per cent of the samples `gauge` is above its limit and the device is idle.

    A subclass names the gauge, gives its limit, declares `patience` and describes the finding. Idle means that the mean
    of the GPUs in use is below `gpu_threshold`; without a GPU, that the step mostly waited for its batch.
    """

    gauge: ClassVar[str]

    threshold: float = setting(50.0, "share of the samples", above=0, below=100, unit="%")
    gpu_threshold: float = setting(10.0, "use of the GPUs below which they are idle", above=0, high=100, unit="%")

    @abstractmethod
    def limit(self, machine: Machine) -> float:
        """Return the value of the gauge above which a sample counts, in per cent."""

    @abstractmethod
    def cause(self, idleness: Idleness, share: float) -> str:
        """Return the cause of a finding at `share` per cent of the samples."""

    @abstractmethod
    def advice(self, *, drops_pixels: bool) -> str:
        """Return the advice of a finding. drops_pixels: decoded images are not kept in memory between epochs."""

    def verdict(self, view: RunView) -> Finding:
        idleness = device_idleness(view, self.gauge, gpu_below=self.gpu_threshold, patience=self.patience)
        samples = idleness.samples
        if not samples.enough:
            return self.too_few_samples(samples)
        high = samples.values[self.gauge] > self.limit(view.profile.machine)
        share = 100 * float((high & idleness.idle).mean())
        if share <= self.threshold:
            return self.clear(value=share, threshold=self.threshold, unit="% of the samples")
        drops_pixels = view.context.settings.get("keep_pixels") is False
        return self.found(
            value=share,
            threshold=self.threshold,
            unit="% of the samples",
            steps=samples.step_range,
            cause=self.cause(idleness, share),
            fix={"keep_pixels": True} if drops_pixels else {},  # images in memory are neither read nor decoded again
            advice=self.advice(drops_pixels=drops_pixels),
            confidence=0.9 if idleness.gpus else 0.8,  # a GPU's gauge shows idleness itself, a waiting step implies it
            evidence=samples.series(self.gauge, *idleness.gpus),
        )


def device_idleness(view: RunView, gauge: str, *, gpu_below: float, patience: int | None) -> Idleness:
    """Return where the device was idle at the samples of `gauge`; no samples if either is unknown.

    gpu_below: per cent; the mean over the GPUs in use counts, because one busy GPU keeps the cores at work.
    """
    # All samples of the run, not the newest 500: a bottleneck is a share of the whole training time.
    profile, length = view.profile, max(len(view.profile.gauge_samples), 1)
    if used := used_gpus(profile):
        samples = sample_window(view, (gauge, *used), length=length, patience=patience)
        subject = "the GPU was" if len(used) == 1 else "the GPUs were"
        use = np.mean([samples.values[name] for name in used], axis=0)
        return Idleness(samples, use < gpu_below, f"{subject} below {gpu_below:.0f} %", used)
    samples = sample_window(view, (gauge,), length=length, patience=patience)
    share_of_step = dict(zip(profile.steps().steps.tolist(), wait_shares(profile).tolist(), strict=True))
    shares = np.array([share_of_step[step] for step in samples.steps.tolist()], np.float64)
    known = np.isfinite(shares)
    values = {gauge: samples.values[gauge][known]}
    timed = Window(samples.times[known], samples.steps[known], values, int(known.sum()), samples.required)
    description = "the step spent over half of its time waiting for its batch"
    return Idleness(timed, shares[known] > _MAINLY_WAITING, description, ())
