"""GPUMemoryIncrease: the memory of a GPU fills up while training goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Severity
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import WARM_UP
from clearsight.profiler.analysis.window import Window, gpu_gauges, patience_setting, sample_window
from clearsight.profiler.rules.speed_rule import SampleRule

_DEFAULT_WINDOWS = 5  # in a run, if the parameter `window` is not given
_MIN_WINDOW, _MAX_WINDOW = 4, 500  # samples
_MAX_SAMPLES = 20_000  # nearly three hours at two a second; keeps a check of a long run fast
_STEADY = 0.75  # share of the windows that are above the one before; from here on memory grows all the time
_LASTING = 0.5  # share of a rise that must remain at the end, else it was a peak
_FULL = 100.0


@dataclass(frozen=True, slots=True)
class _Growth:
    """Growth of the memory in use, in percentage points.

    rise: largest, from one window to the next.  total: from the first window to the last.  last: mean of the last
    window, per cent.  steady: memory grows from window to window.
    """

    rise: float
    total: float
    last: float
    steady: bool


class GPUMemoryIncrease(SampleRule):
    """Found when the share of a GPU's memory in use, averaged over a window of samples, rises by more than `increase`
    points over the window before and stays, or rises from window to window by that much in total.

    SageMaker's rule has only the first condition: it misses a slow leak, and takes a single jump, such as a first
    validation with larger batches, for one. This rule reports a jump as info, steady growth as a warning, and steady
    growth that fills the memory before the planned end as severe. The first three steps, in which memory is allocated
    anyway, do not count. Memory that torch holds in reserve counts as in use. It needs a GPU.
    """

    increase: float = setting(5.0, "rise of the memory in use", above=0, below=100, unit="percentage points")
    patience: int | None = patience_setting()
    window: int | None = setting(None, "samples that are averaged [default: a fifth of them]", low=1, unit="samples")

    def check(self, view: RunView) -> Iterator[Finding]:
        gpus = gpu_gauges(view.profile)
        windows = {
            gpu: sample_window(view, (f"{gpu}.memory",), length=_MAX_SAMPLES, patience=self.patience) for gpu in gpus
        }
        if not any(samples.enough for samples in windows.values()):
            no_gpu = "" if gpus or not view.profile else "this machine has no GPU"
            yield self.too_few_samples(*windows.values(), cause=no_gpu)
            return
        growths = {gpu: self._growth(samples, f"{gpu}.memory") for gpu, samples in windows.items() if samples.enough}
        growing = [gpu for gpu, growth in growths.items() if self._grows(growth)]
        if not growing:
            yield self.clear(value=max(g.rise for g in growths.values()), threshold=self.increase, unit="points")
        for gpu in sorted(growing, key=lambda gpu: -growths[gpu].total):
            yield self._fills(view, gpu, windows[gpu], growths[gpu])

    def _grows(self, growth: _Growth) -> bool:
        jumps = growth.rise > self.increase and growth.total > _LASTING * growth.rise
        return jumps or (growth.steady and growth.total > self.increase)

    def _growth(self, samples: Window, name: str) -> _Growth:
        values = samples.values[name][samples.steps > samples.steps[0] + WARM_UP - 1]
        length = self.window or int(np.clip(len(values) // _DEFAULT_WINDOWS, _MIN_WINDOW, _MAX_WINDOW))
        # Of consecutive windows, (W,); the newest window is whole, older samples are left out.
        means = values[len(values) % length :].reshape(-1, length).mean(axis=1)
        rises = np.diff(means)
        if not len(rises):
            return _Growth(0.0, 0.0, float(means[-1]) if len(means) else 0.0, False)
        # A single rise that makes up most of the growth is a jump, however the other windows go.
        steady = len(rises) > 1 and float((rises > 0).mean()) >= _STEADY and float(rises.max()) < _LASTING * rises.sum()
        return _Growth(float(rises.max()), float(means[-1] - means[0]), float(means[-1]), steady)

    def _fills(self, view: RunView, gpu: str, samples: Window, growth: _Growth) -> Finding:
        first, last = samples.step_range
        per_step = growth.total / max(last - first, 1)
        full_at = int(min(last + (_FULL - growth.last) / max(per_step, 1e-9), 1e12))  # finite, as an integer must be
        planned = view.context.steps
        fills = growth.steady and not view.ended and last < full_at < planned
        manner = f", by {100 * per_step:.2g} points in 100 steps" if growth.steady else ", in one jump"
        end = f"; it will be full at about step {full_at} of {planned}" if fills else ""
        return self.found(
            value=growth.total,
            threshold=self.increase,
            unit="percentage points",
            severity=Severity.SEVERE if fills else Severity.WARNING if growth.steady else Severity.INFO,
            steps=(first, last),
            subject=gpu,
            cause=(
                f"the memory of {gpu} in use rose from {growth.last - growth.total:.0f} % to {growth.last:.0f} %"
                f"{manner}{end}"
            ),
            advice=(
                "Keep no loss or output together with its graph (total += loss.item() instead of loss), and clear "
                "lists of tensors at the end of an epoch."
                if growth.steady
                else "Look at what begins there, such as a validation with larger batches or larger images."
            ),
            confidence=0.9 if growth.steady else 0.6,
            evidence=samples.series(f"{gpu}.memory"),
        )
