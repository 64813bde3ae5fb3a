"""MemoryLeak: the memory of the job grows with every step and does not stop growing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.profile import Floats
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import WARM_UP, steps_done, timed_steps
from clearsight.profiler.rules.speed_rule import SpeedRule

_MIN_SAMPLES = 12
_MAX_SAMPLES = 250  # whose pairs are compared: 31,000 pairs take milliseconds, those of a long run would take minutes
_MB = 2**20
_SAME_PHASE = 0.15  # of a step: samples that lie at most so far apart within their steps are compared
_MIN_DEVIATIONS = 4.0  # standard deviations of Kendall's tau beyond that of samples without a trend
_STILL_GROWING = 0.3  # slope of the second half, as a share of that of the whole
_STILL_GROWING_LIVE = 0.8  # while the run goes on: an allocator that fills up grows ever slower, a leak does not
_NOT_RETURNED = 0.2  # share of the growth by which the lowest memory of the second half is above the start
_LOWEST = 10  # percentile: one low sample does not mean that memory was given back
_WARM_UP_SHARE = 0.15  # share of a run: before it, memory is allocated that is needed once
# Bytes that are kept of an image over those of its place in the batch, at most. Augmentation crops, so that the decoded
# image is larger than the crop that the network sees.
_AUGMENTED, _PLAIN = 4.0, 1.5


@dataclass(frozen=True, slots=True)
class _Growth:
    """Growth of the memory (bytes) over steps.

    first, last: steps.  start: memory at first.  slope: per step.  late_slope: per step, in the second half.
    trend: Kendall's tau.  deviations: of the trend, in standard deviations.  rise_of_lowest: rise of the lowest values
    from the first quarter to the second half.
    """

    first: int
    last: int
    start: float
    slope: float
    late_slope: float
    trend: float
    deviations: float
    rise_of_lowest: float

    @property
    def total(self) -> float:
        """Bytes of growth from the first step to the last."""
        return self.slope * (self.last - self.first)


class MemoryLeak(SpeedRule):
    """Found when the resident memory of the job and its children grows steadily (Kendall's tau over steps is above
    `steady`), by more than `share` and `least`, still in the second half of the steps, and is not given back.

    Within a step, memory rises by what forward keeps for backward and falls again, so only samples at similar places of
    a step are compared. The slope is the median over all such pairs: neither a jump (validation, a trace) nor the noise
    of the allocator looks like growth. Only samples after the first epoch count, because decoded images fill the memory
    in it. While the run goes on, its second half must grow nearly as fast as the whole. Within the first epoch, the
    second half counts if images may be kept, and only growth that cannot be such images. Severe if memory runs out
    before the planned end. SageMaker's GPUMemoryIncrease looks at the memory of GPUs alone.
    Source of slope and trend: Sen 1968, "Estimates of the regression coefficient based on Kendall's tau".
    """

    counted = "samples"
    points = _MIN_SAMPLES

    share: float = setting(3.0, "growth, of the memory at the start", low=0, unit="%")
    least: float = setting(32.0, "growth", low=0, unit="MB")
    steady: float = setting(0.4, "Kendall's tau of memory over steps", low=0, below=1)

    def verdict(self, view: RunView) -> Finding:
        memory = view.profile.within(view.profile.gauge("tree.memory"))
        done = steps_done(view.profile, memory.times)
        steps = timed_steps(view.profile)
        if len(memory) < _MIN_SAMPLES:
            return self.not_enough_data(have=len(memory))
        if missing := steps.shortfall():
            return self.not_enough_data(**missing)
        in_first_epoch = int(steps.epochs[-1]) == int(steps.table.epochs[0])
        counted = _counted_samples(view, done, in_first_epoch)
        if counted.sum() < _MIN_SAMPLES:
            return self.not_enough_data(have=int(counted.sum()), cause="too few samples after the first epoch")
        places, values = done[counted], memory.values[counted]
        growths = [_growth(places, values)]
        if len(places) >= 4 * _MIN_SAMPLES:  # finds a leak that begins late, which the whole run dilutes
            half = len(places) // 2
            growths.append(_growth(places[half:], values[half:]))
        leak = next((growth for growth in growths if self._leaks(growth, ended=view.ended)), None)
        if leak is None:
            return self.clear(value=growths[0].slope / _MB, threshold=self._min_slope(growths[0]), unit="MB a step")
        if in_first_epoch and leak.slope <= _image_bytes_per_step(view):
            cause = (
                f"memory grows by {leak.slope / _MB:.2g} MB a step in the first epoch, as it does while decoded "
                f"images are kept; the second epoch shows whether it stops"
            )
            return self.not_enough_data(have=1, want=2, of="epochs", cause=cause)
        return self._found(view, leak, done, memory.values)

    def _leaks(self, growth: _Growth, *, ended: bool) -> bool:
        still_growing = _STILL_GROWING if ended else _STILL_GROWING_LIVE
        return (
            growth.slope / _MB > self._min_slope(growth)
            and growth.trend > self.steady
            and growth.deviations > _MIN_DEVIATIONS
            and growth.late_slope > still_growing * growth.slope
            and growth.rise_of_lowest > _NOT_RETURNED * growth.total
        )

    def _min_slope(self, growth: _Growth) -> float:
        """Return the megabytes a step that add up to the least growth that counts."""
        return max(self.least, self.share / 100 * growth.start / _MB) / max(1, growth.last - growth.first)

    def _found(self, view: RunView, growth: _Growth, done: Floats, values: Floats) -> Finding:
        full_at = _step_without_memory(view, growth, values)
        planned = view.context.steps
        too_early = full_at is not None and planned > 0 and full_at < planned
        end = ""
        if full_at is not None:
            end = f"; the machine has none left at about step {full_at:,}" + (f" of {planned:,}" if too_early else "")
        # Reading a Python object changes its reference count, which copies its memory page into the worker process.
        copies = ", and lists of Python objects that every worker process copies by reading"
        workers = copies if view.profile.machine.reading == "processes" else ""
        return self.found(
            value=growth.slope / _MB,
            threshold=self._min_slope(growth),
            unit="MB a step",
            steps=(growth.first, growth.last),
            subject="memory",
            severity=Severity.SEVERE if too_early else self.severity,
            cause=(
                f"from step {growth.first} to {growth.last} the memory of the job grew by {growth.slope / _MB:.2g} MB "
                f"a step, {growth.total / _MB:.0f} MB in total, and it does not stop{end}"
            ),
            advice=(
                "Look for objects that are collected in every step: losses or outputs kept with their graph (keep "
                f"loss.item() or .detach() instead), lists and caches that only grow{workers}."
            ),
            evidence=Series.of("memory of the job (MB)", np.floor(done), values / _MB),
        )


def _counted_samples(view: RunView, done: Floats, in_first_epoch: bool) -> npt.NDArray[np.bool_]:
    """Return True for each sample that counts, (T,). in_first_epoch: no later epoch has begun yet."""
    table = view.profile.steps()
    if not in_first_epoch:
        return np.asarray(done >= int(table.steps[table.epochs > table.epochs[0]][0]))
    first, last = int(table.steps[0]), int(table.steps[-1])
    early = max(WARM_UP, (0.5 if _image_bytes_per_step(view) else _WARM_UP_SHARE) * (last - first))
    return np.asarray(done >= first + early)


def _growth(places: Floats, values: Floats) -> _Growth:
    """Return the growth of memory. places: steps done, with fractions, (T,), ascending.  values: bytes, (T,)."""
    count, half, quarter = len(places), len(places) // 2, max(1, len(places) // 4)
    slope, trend = _trend(places, values)
    return _Growth(
        first=int(places[0]),
        last=int(np.ceil(places[-1])),
        start=float(np.median(values[:quarter])),
        slope=slope,
        late_slope=_trend(places[half:], values[half:])[0],
        trend=trend,
        # The standard deviation of tau over `count` values without a trend.
        deviations=trend * (9 * count * (count - 1) / (2 * (2 * count + 5))) ** 0.5,
        rise_of_lowest=float(np.percentile(values[half:], _LOWEST)) - float(np.percentile(values[:quarter], _LOWEST)),
    )


def _trend(places: Floats, values: Floats) -> tuple[float, float]:
    """Return the median slope over pairs of samples at similar places of a step, and their tau; 0 without pairs."""
    thinned = np.unique(np.linspace(0, len(places) - 1, min(len(places), _MAX_SAMPLES)).round().astype(int))
    x, y = places[thinned], values[thinned]
    i, j = np.triu_indices(len(x), 1)
    later = x[j] > x[i]
    between = np.abs(x[j] % 1 - x[i] % 1)
    same_phase = later & (np.minimum(between, 1 - between) <= _SAME_PHASE)  # the end of a step meets its start
    pairs = same_phase if same_phase.sum() >= 2 * len(x) else later  # better all pairs than a handful
    if not pairs.any():
        return 0.0, 0.0
    rise, run = (y[j] - y[i])[pairs], (x[j] - x[i])[pairs]
    return float(np.median(rise / run)), float(np.mean(np.sign(rise)))


def _image_bytes_per_step(view: RunView) -> float:
    """Return the bytes a step by which decoded images may fill the memory in the first epoch; 0 if none are kept."""
    machine, settings = view.profile.machine, view.context.settings
    keeps_pixels = machine.pixels_kept or settings.get("keep_pixels")
    if not keeps_pixels or view.context.cached:
        return 0.0
    if not machine.batch_bytes:
        return float("inf")
    return machine.batch_bytes * (_PLAIN if settings.get("augment", "none") == "none" else _AUGMENTED)


def _step_without_memory(view: RunView, growth: _Growth, values: Floats) -> int | None:
    """Return the step at which no memory is left; None if the size of the memory is unknown."""
    # Available memory also knows a container's limit and other processes; the machine's size is the second choice.
    available = view.profile.within(view.profile.gauge("memory.available")).values
    left = float(available[-1]) if len(available) else view.profile.machine.memory_bytes - float(values[-1])
    known = len(available) or view.profile.machine.memory_bytes
    return growth.last + int(max(0.0, left) / growth.slope) if known else None
