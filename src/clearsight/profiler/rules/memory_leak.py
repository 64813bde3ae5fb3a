"""MemoryLeak: the memory of the job grows with every step and does not stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.profile import Floats
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import WARM_UP, steps_done, timed_steps

_LOOKS = 12
_MOST = 250  # looks whose pairs are compared
_MB = 2**20
_ALIKE = 0.15  # of a step: looks at like places in it are compared with each other
_SURE = 4.0  # standard deviations beyond what looks without a trend give
_GOES_ON = 0.3  # slope of the second half, of that of the whole
_STAYS = 0.2  # of the growth that the second half never gives back
_LOWEST = 10  # percentile: one low look is no return
_SETTLED = 0.15  # of a run: in what comes before, memory is taken that is needed once
_AUGMENTED, _PLAIN = 4.0, 1.5  # bytes that are kept of an image over those of its place in the batch, at most


@dataclass(frozen=True, slots=True)
class _Growth:
    """Of memory (bytes) over steps. slope: a step; late: in the second half.  trend: Kendall's tau, and sure: in
    standard deviations.  start: at first.  kept: what the second half's lowest are above the first's."""

    first: int
    last: int
    start: float
    slope: float
    late: float
    trend: float
    sure: float
    kept: float

    @property
    def total(self) -> float:
        """What came to it from the first step to the last."""
        return self.slope * (self.last - self.first)


class MemoryLeak(Rule):
    """Found when the resident memory of the job and its children grows steadily (Kendall's tau over steps is above
    `steady`), by more than `share` and `least`, still in the second half of the steps, and without giving it back.

    Within a step memory goes up and down by what forward keeps for backward, so only looks at like places of a step
    are compared. The slope is the median over all such pairs: neither a jump (validation, a trace) nor the noise of
    the allocator passes for growth. Only looks behind the first epoch count, because decoded images fill the memory
    in it; within the first epoch only the second half where images may be kept, and only what cannot be such
    images. Severe where memory runs out before the planned end. SageMaker's GPUMemoryIncrease looks at the memory of
    GPUs alone.
    Source of slope and trend: Sen 1968, "Estimates of the regression coefficient based on Kendall's tau".
    """

    topic = "speed"

    share: float = setting(3.0, "growth, of the memory at the start", low=0, unit="%")
    least: float = setting(32.0, "growth", low=0, unit="MB")
    steady: float = setting(0.4, "Kendall's tau of memory over steps", low=0, below=1)

    def needs(self) -> Needs:
        return Needs(counted="looks", points=_LOOKS)

    def check(self, view: RunView) -> Iterator[Finding]:
        looks = view.profile.within(view.profile.gauge("tree.memory"))
        at = steps_done(view.profile, looks.times)
        warm = timed_steps(view.profile)
        if len(looks) < _LOOKS or (missing := warm.shortfall()):
            yield self.not_enough_data(**({"have": len(looks)} if len(looks) < _LOOKS else missing))
            return
        opening = int(warm.epochs[-1]) == int(warm.table.epochs[0])
        window = _later(view, at, opening)
        if window.sum() < _LOOKS:
            yield self.not_enough_data(have=int(window.sum()), cause="too few looks behind the first epoch")
            return
        places, values = at[window], looks.values[window]
        halves = [(places, values)]
        if len(places) >= 4 * _LOOKS:  # a leak that began late
            halves.append((places[len(places) // 2 :], values[len(places) // 2 :]))
        grown = [_growth(*half) for half in halves]
        worst = next((growth for growth in grown if self._leaks(growth)), None)
        if worst is None:
            yield self.clear(value=grown[0].slope / _MB, threshold=self._border(grown[0]), unit="MB a step")
        elif opening and worst.slope <= _kept_images(view):
            cause = (
                f"memory grows by {worst.slope / _MB:.2g} MB a step in the first epoch, as it does while decoded "
                f"images are kept; the second epoch will tell"
            )
            yield self.not_enough_data(have=1, want=2, of="epochs", cause=cause)
        else:
            yield self._found(view, worst, at, looks.values)

    def _leaks(self, growth: _Growth) -> bool:
        return (
            growth.slope / _MB > self._border(growth)
            and growth.trend > self.steady
            and growth.sure > _SURE
            and growth.late > _GOES_ON * growth.slope
            and growth.kept > _STAYS * growth.total
        )

    def _border(self, growth: _Growth) -> float:
        """Megabytes a step that make up the least growth that counts."""
        return max(self.least, self.share / 100 * growth.start / _MB) / max(1, growth.last - growth.first)

    def _found(self, view: RunView, growth: _Growth, at: Floats, values: Floats) -> Finding:
        out = _runs_out(view, growth, values)
        planned = view.facts.steps
        early = out is not None and planned > 0 and out < planned
        when = ""
        if out is not None:
            when = f"; the machine has none left at about step {out:,}" + (f" of {planned:,}" if early else "")
        workers = ", and lists of Python objects that every worker process copies by reading" * (
            view.profile.machine.reading == "processes"
        )
        return self.found(
            value=growth.slope / _MB,
            threshold=self._border(growth),
            unit="MB a step",
            steps=(growth.first, growth.last),
            subject="memory",
            severity=Severity.SEVERE if early else self.severity,
            cause=(
                f"from step {growth.first} to {growth.last} the memory of the job grew by {growth.slope / _MB:.2g} MB "
                f"a step, {growth.total / _MB:.0f} MB in all, and it does not stop{when}"
            ),
            advice=(
                "Look for what is collected in every step: losses or outputs kept with their graph (keep loss.item() "
                f"or .detach() instead), lists and caches that only grow{workers}."
            ),
            evidence=Series.of("memory of the job (MB)", np.floor(at), values / _MB),
        )


def _later(view: RunView, at: Floats, opening: bool) -> npt.NDArray[np.bool_]:
    """Which looks count, (T,). opening: whether there is only the first epoch yet."""
    table = view.profile.steps()
    if not opening:
        return np.asarray(at >= int(table.steps[table.epochs > table.epochs[0]][0]))
    first, last = int(table.steps[0]), int(table.steps[-1])
    early = max(WARM_UP, (0.5 if _kept_images(view) else _SETTLED) * (last - first))
    return np.asarray(at >= first + early)


def _growth(places: Floats, values: Floats) -> _Growth:
    half, quarter = len(places) // 2, max(1, len(places) // 4)
    slope, trend = _trend(places, values)
    count = len(places)
    lowest = float(np.percentile(values[half:], _LOWEST)) - float(np.percentile(values[:quarter], _LOWEST))
    return _Growth(
        first=int(places[0]),
        last=int(np.ceil(places[-1])),
        start=float(np.median(values[:quarter])),
        slope=slope,
        late=_trend(places[half:], values[half:])[0],
        trend=trend,
        sure=trend * (9 * count * (count - 1) / (2 * (2 * count + 5))) ** 0.5,
        kept=lowest,
    )


def _trend(places: Floats, values: Floats) -> tuple[float, float]:
    """The median slope over pairs of looks at like places of a step, and their tau; 0 where no two places differ."""
    thin = np.unique(np.linspace(0, len(places) - 1, min(len(places), _MOST)).round().astype(int))
    x, y = places[thin], values[thin]
    i, j = np.triu_indices(len(x), 1)
    apart = x[j] > x[i]
    between = np.abs(x[j] % 1 - x[i] % 1)
    alike = apart & (np.minimum(between, 1 - between) <= _ALIKE)
    chosen = alike if alike.sum() >= 2 * len(x) else apart
    if not chosen.any():
        return 0.0, 0.0
    rise, run = (y[j] - y[i])[chosen], (x[j] - x[i])[chosen]
    return float(np.median(rise / run)), float(np.mean(np.sign(rise)))


def _kept_images(view: RunView) -> float:
    """Bytes a step by which decoded images may fill the memory in the first epoch; 0 where none are kept."""
    machine, settings = view.profile.machine, view.facts.settings
    keeps = machine.pixels_kept or settings.get("keep_pixels")
    if not keeps or view.facts.cached:
        return 0.0
    if not machine.batch_bytes:
        return float("inf")
    return machine.batch_bytes * (_PLAIN if settings.get("augment", "none") == "none" else _AUGMENTED)


def _runs_out(view: RunView, growth: _Growth, values: Floats) -> int | None:
    """The step at which no memory is left, None where it is not known how much there is."""
    free = view.profile.within(view.profile.gauge("memory.available")).values
    left = float(free[-1]) if len(free) else view.profile.machine.memory_bytes - float(values[-1])
    known = len(free) or view.profile.machine.memory_bytes
    return growth.last + int(max(0.0, left) / growth.slope) if known else None
