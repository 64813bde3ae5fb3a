"""WeightUpdateRatio: steps that replace the weights, or that are lost in rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView, StatisticTable
from clearsight.debugger.analysis.learning_rates import above_low_rate, peak_learning_rate
from clearsight.debugger.analysis.loss_curve import loss_progress
from clearsight.debugger.analysis.tensors import columns, finite_median, select_steps, trained_weights

_HEALTHY = 1e-3  # of the weights in a step: the size that a fix aims at


class WeightUpdateRatio(Rule):
    """Found when a step changes half of the layers by more than `large_threshold` of their weights, or hardly at all.

    The rule compares L2 norms of update and weights of each layer, at the median of the last `num_steps` saved steps or
    half of all where that is more, and then at the median of the layers; biases and norms, which start at 0 or 1, and
    the head, which may, are left out. Healthy training lies between 1e-4 and 1e-2. Under `small_threshold`, 1e-7, the
    resolution of single precision, an update is lost in rounding. Steps below a tenth of the peak learning rate do not
    count, and small updates do no harm where the loss is low. SageMaker's rule of this name averages the ratio over
    single elements, where the elements near 0 decide; hence its threshold of 10.
    """

    unused = ("epsilon",)

    large_threshold: float = setting(0.5, "largest update over the weights", above=0)
    small_threshold: float = setting(1e-7, "smallest update over the weights", low=0)
    num_steps: int = setting(5, "saved steps that are combined", low=2)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.num_steps, collections=("weights", "updates"))

    def check(self, view: RunView) -> list[Finding]:
        ratios = self._ratios(view)
        if len(ratios) < self.num_steps or not ratios.names:
            saved = min(len(ratios), self.num_steps - 1) if not ratios.names else len(ratios)
            return [self.not_enough_data(have=saved, of="saved updates of hidden layers at a full learning rate")]
        # Half of a longer run, so that a few unusual snapshots do not decide.
        last = max(self.num_steps, len(ratios) // 2)
        recent = select_steps(ratios, np.arange(len(ratios)) >= len(ratios) - last)
        by_layer = finite_median(recent.values, axis=0)
        value = float(finite_median(by_layer))
        progress = loss_progress(view)
        if value > self.large_threshold:
            return [self._finding(view, recent, by_layer, value, large=True)]
        if 0 < value < self.small_threshold and progress is not None and not progress.low:
            return [self._finding(view, recent, by_layer, value, large=False)]
        return [self.clear(value=None if np.isnan(value) else value, threshold=self.large_threshold)]

    def _ratios(self, view: RunView) -> StatisticTable:
        """Return the norm of the update over that of the weights, (S, L), at the steps with saved updates."""
        weights, updates = view.statistic("l2", "weights"), view.statistic("l2", "updates")
        hidden = [weight.name for weight in trained_weights(view.context) if not weight.head]
        names = [name for name in hidden if f"update/{name}" in updates.names]
        rows = np.isin(weights.steps, updates.steps) & above_low_rate(view, weights.steps)
        saved = np.isin(updates.steps, weights.steps[rows])
        sizes = columns(select_steps(weights, rows), names)
        changes = columns(select_steps(updates, saved), [f"update/{name}" for name in names])
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(sizes > 0, changes / sizes, np.nan)
        return replace(select_steps(weights, rows), names=tuple(names), values=values)

    def _finding(
        self, view: RunView, recent: StatisticTable, by_layer: np.ndarray, value: float, *, large: bool
    ) -> Finding:
        worst = int(np.nanargmax(by_layer) if large else np.nanargmin(by_layer))
        rate = peak_learning_rate(view)
        proposed = rate * _HEALTHY / value
        # At most a factor of 1000: the estimate is rough.
        proposed = max(proposed, rate / 1000) if large else min(proposed, rate * 1000, 1.0)
        series = finite_median(recent.values, axis=1)
        known = np.isfinite(series)
        effect = "the weights are replaced, not trained" if large else "the updates are lost in rounding"
        return self.found(
            value=value,
            threshold=self.large_threshold if large else self.small_threshold,
            unit="of the weights",
            steps=(recent.steps[0], recent.steps[-1]),
            subject=recent.names[worst],
            cause=f"the median step changes {value:.2g} of a layer's weights, where 0.001 is usual: {effect}",
            fix={"lr": float(f"{proposed:.1e}")} if rate > 0 else {},
            confidence=0.8,
            evidence=Series.of("update over weights", recent.steps[known], series[known]),
        )
