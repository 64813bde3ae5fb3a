"""SlowStorage: batches are late because the bytes of the images come slowly."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.profile import GaugeSeries
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.loader_cost import LoaderCost, loader_cost
from clearsight.profiler.analysis.timed_steps import TimedSteps, steps_done, timed_steps
from clearsight.profiler.rules.speed_rule import SpeedRule

_MB = 1e6  # as storage is sold and benchmarked, unlike the 2**20 of memory
_MIN_SAMPLES = 5  # 2.5 seconds at the default rate, for a median


class SlowStorage(SpeedRule):
    """Found when steps wait for batches and one loader worker gets fewer than `speed` megabytes a second, or the cores
    wait for disks during `iowait` of the time.

    Small files are slow on every disk, because opening one costs a fixed time. So an image must take at least
    `per_image`, and reading at least `reading` of the time of the loader workers. If the workers were not timed, the
    cores' own count of waiting for disks decides; it does not see network storage. SageMaker's IOBottleneck looks at
    that count alone.
    """

    explains = ("IOBottleneck",)

    speed: float = setting(50.0, "bytes that one loader worker reads", above=0, unit="MB/s")
    per_image: float = setting(1.0, "time to read an image", low=0, unit="ms")
    reading: float = setting(30.0, "time spent reading, of the time of loader workers", above=0, below=100, unit="%")
    iowait: float = setting(20.0, "cores waiting for disks, by the median sample", above=0, below=100, unit="%")
    wait: float = setting(10.0, "time spent waiting for batches, of the step time", low=0, below=100, unit="%")

    def verdict(self, view: RunView) -> Finding:
        steps = timed_steps(view.profile)
        steps = steps.select(np.isfinite(steps.wait_seconds()))
        if missing := steps.shortfall():
            return self.not_enough_data(**missing)
        recent = steps.recent()
        cost, wait = loader_cost(recent), 100 * recent.wait_share()
        iowait = view.profile.within(view.profile.gauge("cpu.iowait"))
        known = np.isfinite(cost.bytes) and "read" in cost.parts
        if not known and len(iowait) < _MIN_SAMPLES:
            cause = "the bytes that loader workers read are unknown"
            return self.not_enough_data(have=len(iowait), want=_MIN_SAMPLES, of="profiler samples", cause=cause)
        if wait > self.wait and self._reads_slowly(cost):
            return self._slow_reading(view, steps, recent, cost)
        if wait > self.wait and len(iowait) >= _MIN_SAMPLES and np.median(iowait.values) > self.iowait:
            return self._waiting_cores(view, recent, iowait)
        if known:
            return self.clear(value=_speed(cost), threshold=self.speed, unit="MB/s")
        return self.clear(value=float(np.median(iowait.values)), threshold=self.iowait, unit="% of the cores' time")

    def _reads_slowly(self, cost: LoaderCost) -> bool:
        speed = _speed(cost)
        if speed is None or speed >= self.speed or 100 * cost.share("read") < self.reading:
            return False
        return not cost.parts["read"] < self.per_image / 1e3 * cost.images  # "not <" is True for an unknown count

    def _slow_reading(self, view: RunView, steps: TimedSteps, recent: TimedSteps, cost: LoaderCost) -> Finding:
        speed = _speed(cost)
        assert speed is not None
        each = f", {1e3 * cost.parts['read'] / cost.images:.2g} ms an image" if cost.images > 0 else ""
        seconds, size = steps.load("read"), steps.load("bytes")
        known = (seconds > 0) & (size > 0)
        return self._slow(
            view,
            recent,
            value=speed,
            threshold=self.speed,
            unit="MB/s",
            cause=(
                f"a loader worker reads {speed:.3g} MB a second{each}, and reading is {100 * cost.share('read'):.0f} % "
                f"of the workers' time, while {100 * recent.wait_share():.0f} % of the time is spent waiting for them"
            ),
            evidence=Series.of("MB/s of one loader worker", steps.steps[known], size[known] / seconds[known] / _MB),
        )

    def _waiting_cores(self, view: RunView, recent: TimedSteps, iowait: GaugeSeries) -> Finding:
        value = float(np.median(iowait.values))
        return self._slow(
            view,
            recent,
            value=value,
            threshold=self.iowait,
            unit="% of the cores' time",
            cause=(
                f"the cores wait for disks during {value:.0f} % of their time while {100 * recent.wait_share():.0f} % "
                f"of the training time is spent waiting for batches"
            ),
            confidence=0.7,  # other processes may be what the cores wait for
            evidence=Series.of("cpu.iowait (%)", steps_done(view.profile, iowait.times), iowait.values),
        )

    def _slow(self, view: RunView, recent: TimedSteps, **measured: Any) -> Finding:
        # With a single epoch no image is read twice, so keeping them in memory gains nothing.
        drops_pixels = view.context.settings.get("keep_pixels") is False and view.context.epochs != 1
        return self.found(
            steps=recent.step_range,
            subject="storage",
            fix={"keep_pixels": True} if drops_pixels else {},
            advice=(
                "Copy the images to a local disk before training, or pack them into one archive instead of small files."
            ),
            **measured,
        )


def _speed(cost: LoaderCost) -> float | None:
    """Return the megabytes a second of one loader worker; None if nothing was read."""
    seconds = cost.parts.get("read", 0.0)
    return cost.bytes / seconds / _MB if seconds > 0 and cost.bytes > 0 else None
