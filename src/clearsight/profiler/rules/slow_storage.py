"""SlowStorage: batches are late because the bytes of the images come slowly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.profile import GaugeSeries
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.loader_cost import LoaderCost, loader_cost
from clearsight.profiler.analysis.timed_steps import LEAST_STEPS, TimedSteps, steps_done, timed_steps

_MB = 1e6
_LEAST_LOOKS = 5


class SlowStorage(Rule):
    """Found when batches are waited for and one reader gets fewer than `speed` megabytes a second, or the cores wait
    for disks during `iowait` of the time.

    Small files are slow on every disk, since opening one costs a fixed time: an image must take `per_image` at the
    least, and reading must be `reading` of all that readers do. Where readers are not known the cores' own count of
    waiting for disks decides; it does not see network storage. SageMaker's IOBottleneck looks at that count alone.
    """

    topic = "speed"
    explains = ("IOBottleneck",)

    speed: float = setting(50.0, "bytes that one reader gets", above=0, unit="MB/s")
    per_image: float = setting(1.0, "time to read an image", low=0, unit="ms")
    reading: float = setting(30.0, "time spent reading, of all that readers do", above=0, below=100, unit="%")
    iowait: float = setting(20.0, "cores waiting for disks, by the median look", above=0, below=100, unit="%")
    wait: float = setting(10.0, "time spent waiting for batches, of the step time", low=0, below=100, unit="%")

    def needs(self) -> Needs:
        return Needs(counted="timed", points=LEAST_STEPS)

    def check(self, view: RunView) -> Iterator[Finding]:
        steps = timed_steps(view.profile)
        steps = steps.chosen(np.isfinite(steps.waits()))
        if missing := steps.shortfall():
            yield self.not_enough_data(**missing)
            return
        recent = steps.recent()
        made, waited = loader_cost(recent), 100 * recent.wait_share()
        blocked = view.profile.within(view.profile.gauge("cpu.iowait"))
        known = np.isfinite(made.bytes) and "read" in made.parts
        if not known and len(blocked) < _LEAST_LOOKS:
            yield self.not_enough_data(
                have=len(blocked), want=_LEAST_LOOKS, of="looks at the machine", cause="what readers read is unknown"
            )
            return
        if waited > self.wait and self._reads_slowly(made):
            yield self._slow_readers(steps, recent, made, view)
        elif waited > self.wait and len(blocked) >= _LEAST_LOOKS and np.median(blocked.values) > self.iowait:
            yield self._blocked_cores(recent, blocked, view)
        elif known:
            yield self.clear(value=_speed(made), threshold=self.speed, unit="MB/s")
        else:
            yield self.clear(value=float(np.median(blocked.values)), threshold=self.iowait, unit="% of the cores' time")

    def _reads_slowly(self, made: LoaderCost) -> bool:
        speed = _speed(made)
        if speed is None or speed >= self.speed or 100 * made.share("read") < self.reading:
            return False
        return not made.parts["read"] < self.per_image / 1e3 * made.images

    def _slow_readers(self, steps: TimedSteps, recent: TimedSteps, made: LoaderCost, view: RunView) -> Finding:
        speed = _speed(made)
        assert speed is not None
        each = f", {1e3 * made.parts['read'] / made.images:.2g} ms an image" if made.images > 0 else ""
        seconds, size = steps.load("read"), steps.load("bytes")
        told = (seconds > 0) & (size > 0)
        fix, advice = _remedy(view)
        return self.found(
            value=speed,
            threshold=self.speed,
            unit="MB/s",
            steps=recent.ends,
            subject="storage",
            cause=(
                f"a reader gets {speed:.3g} MB a second{each}, and reading is {100 * made.share('read'):.0f} % "
                f"of what readers do while {100 * recent.wait_share():.0f} % of the time passes in waiting for them"
            ),
            fix=fix,
            advice=advice,
            evidence=Series.of("MB/s of one reader", steps.steps[told], size[told] / seconds[told] / _MB),
        )

    def _blocked_cores(self, recent: TimedSteps, blocked: GaugeSeries, view: RunView) -> Finding:
        value = float(np.median(blocked.values))
        fix, advice = _remedy(view)
        return self.found(
            value=value,
            threshold=self.iowait,
            unit="% of the cores' time",
            steps=recent.ends,
            subject="storage",
            cause=(
                f"the cores wait for disks during {value:.0f} % of their time while {100 * recent.wait_share():.0f} % "
                f"of the training time passes in waiting for batches"
            ),
            fix=fix,
            advice=advice,
            confidence=0.7,
            evidence=Series.of("cpu.iowait (%)", steps_done(view.profile, blocked.times), blocked.values),
        )


def _speed(made: LoaderCost) -> float | None:
    """Megabytes a second of one reader; None where nothing was read."""
    seconds = made.parts.get("read", 0.0)
    return made.bytes / seconds / _MB if seconds > 0 and made.bytes > 0 else None


def _remedy(view: RunView) -> tuple[dict[str, bool], str]:
    advice = "Copy the images to a local disk before training, or pack them into one archive instead of small files."
    keeps = view.facts.settings.get("keep_pixels")
    return ({"keep_pixels": True} if keeps is False and view.facts.epochs != 1 else {}), advice
