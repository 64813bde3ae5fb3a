"""IdleDeviceRule: base of the rules that find one gauge too high while the device is idle."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from clearsight.core.finding import Finding
from clearsight.core.profile import Machine
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.idleness import Idleness, device_idleness
from clearsight.profiler.rules.speed_rule import SampleRule


class IdleDeviceRule(SampleRule):
    """Found when at more than `threshold` per cent of the samples `gauge` is above its limit and the device is idle.

    A subclass names the gauge, gives its limit, declares `patience` and describes the finding. Idle means that the mean
    of the GPUs in use is below `gpu_threshold`; without a GPU, that the step spent over half of its time waiting for
    its batch.
    """

    topic = "speed"
    gauge: ClassVar[str]

    threshold: float = setting(50.0, "share of the samples", above=0, below=100, unit="%")
    gpu_threshold: float = setting(10.0, "use of the GPUs below which they are idle", above=0, high=100, unit="%")
    if TYPE_CHECKING:
        # Each subclass declares it behind its own threshold: SageMaker's report lists parameters in this order.
        patience: int | None

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
