"""GPUMemoryIncrease: a GPU's memory fills up while training goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Severity
from clearsight.core.profile import Floats
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.window import LEAST, WARM_UP, Window, gpus, window

_SPANS = 5  # windows in a run, where their length is not said
_SHORTEST, _LONGEST = 4, 500  # looks
_MOST_LOOKS = 20_000
_STEADY = 0.75  # share of windows above the one before, from which on memory grows all the time
_KEPT = 0.5  # of a rise must last
_FULL = 100.0


@dataclass(frozen=True, slots=True)
class _Growth:
    """Points of memory: the largest rise from one window to the next, all of it, and whether it goes on."""

    rise: float
    total: float
    last: float
    steady: bool


class GPUMemoryIncrease(Rule):
    """Found when the share of a GPU's memory in use, averaged over a window of looks, rises by more than `increase`
    points over the window before and stays, or rises from window to window by that much in all.

    SageMaker's rule has only the first: it misses a slow leak, and takes a single jump, such as a first validation with
    larger batches, for one. Here a jump is told as worth knowing, growth that goes on as a warning, and as severe where
    the memory is full before the planned end. The first three steps, in which memory is taken anyway, do not count.
    Memory that torch holds in reserve counts as in use. It needs a GPU.
    """

    topic = "speed"

    increase: float = setting(5.0, "rise of the memory in use", above=0, below=100, unit="percentage points")
    patience: int | None = setting(
        None, "looks before it speaks [default: a fifth of the planned run, at least 20]", low=1, unit="looks"
    )
    window: int | None = setting(None, "looks that are averaged [default: a fifth of them]", low=1, unit="looks")

    def needs(self) -> Needs:
        return Needs(counted="looks", points=self.patience or LEAST)

    def check(self, view: RunView) -> Iterator[Finding]:
        there = gpus(view.profile)
        seen = {gpu: window(view, (f"{gpu}.memory",), length=_MOST_LOOKS, patience=self.patience) for gpu in there}
        if not any(looks.enough for looks in seen.values()):
            best = max(seen.values(), key=lambda looks: looks.have, default=None)
            without = "" if there or not view.profile else "there is no GPU to look at"
            have, want = (best.have, best.wanted) if best else (0, self.needs().points)
            yield self.not_enough_data(have=have, want=want, cause=without)
            return
        grown = {gpu: self._growth(looks, f"{gpu}.memory") for gpu, looks in seen.items() if looks.enough}
        fuller = [gpu for gpu, growth in grown.items() if self._grows(growth)]
        if not fuller:
            yield self.clear(value=max(g.rise for g in grown.values()), threshold=self.increase, unit="points")
        for gpu in sorted(fuller, key=lambda gpu: -grown[gpu].total):
            yield self._fills(view, gpu, seen[gpu], grown[gpu])

    def _grows(self, growth: _Growth) -> bool:
        jumps = growth.rise > self.increase and growth.total > _KEPT * growth.rise
        return jumps or (growth.steady and growth.total > self.increase)

    def _growth(self, looks: Window, name: str) -> _Growth:
        values = looks.values[name][looks.steps > looks.steps[0] + WARM_UP - 1]
        length = self.window or int(np.clip(len(values) // _SPANS, _SHORTEST, _LONGEST))
        means = _means(values, length)
        rises = np.diff(means)
        if not len(rises):
            return _Growth(0.0, 0.0, float(means[-1]) if len(means) else 0.0, False)
        steady = len(rises) > 1 and float((rises > 0).mean()) >= _STEADY and float(rises.max()) < _KEPT * rises.sum()
        return _Growth(float(rises.max()), float(means[-1] - means[0]), float(means[-1]), steady)

    def _fills(self, view: RunView, gpu: str, looks: Window, growth: _Growth) -> Finding:
        first, last = looks.span
        pace = growth.total / max(last - first, 1)
        full = int(min(last + (_FULL - growth.last) / max(pace, 1e-9), 1e12))
        planned = view.facts.steps
        runs_out = growth.steady and not view.ended and last < full < planned
        goes_on = f" and grows on by {100 * pace:.2g} points in 100 steps" if growth.steady else ", in one jump"
        ends = f": it is full at about step {full} of {planned}" if runs_out else ""
        severity = Severity.SEVERE if runs_out else Severity.WARNING if growth.steady else Severity.INFO
        return self.found(
            value=growth.total,
            threshold=self.increase,
            unit="percentage points",
            severity=severity,
            steps=(first, last),
            subject=gpu,
            cause=(
                f"the memory of {gpu} in use rose from {growth.last - growth.total:.0f} % to {growth.last:.0f} %"
                f"{goes_on}{ends}"
            ),
            advice=(
                "Keep no loss or output together with its graph, total += loss.item() instead of loss, and clear lists "
                "of tensors at the end of an epoch."
                if growth.steady
                else "Look at what begins there, such as a validation with larger batches or larger images."
            ),
            confidence=0.9 if growth.steady else 0.6,
            evidence=looks.series(f"{gpu}.memory"),
        )


def _means(values: Floats, length: int) -> Floats:
    """Means of consecutive windows, the newest one whole; (W,)."""
    whole = values[len(values) % length :]
    return np.asarray(whole.reshape(-1, length).mean(axis=1), np.float64)
