"""WeightUpdateRatio: steps that replace the weights, and steps that are lost in rounding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView, StatisticTable
from clearsight.debugger.analysis.loss_curve import above_low_rate, loss_progress, peak_learning_rate
from clearsight.debugger.analysis.parameters import columns, finite_median, select_steps, trained_weights

_USUAL = 1e-3  # of the weights in a step, as healthy training has it


class WeightUpdateRatio(Rule):
    """Found when a step changes half of the weights by more than `large_threshold` of their size, or `small_threshold`.

    Compared are L2 norms of update and weights of each layer, at the median of the last `num_steps` saved steps or half
    of all where that is more, and then at the median of the layers; biases and norms, which start at 0 or 1, and the
    head, which may, are left out. Healthy training lies between 1e-4 and 1e-2. Under 1e-7, the resolution of single
    precision, an update is lost in rounding. Steps below a tenth of the peak learning rate do not count, and small
    updates are no harm where the loss is low. SageMaker's rule of this name averages the ratio over single elements,
    which the elements near 0 decide; hence its threshold of 10.
    """

    unused = ("epsilon",)

    large_threshold: float = setting(0.5, "largest update of a layer over its weights", above=0)
    small_threshold: float = setting(1e-7, "smallest update of a layer over its weights", low=0)
    num_steps: int = setting(5, "saved steps that are taken together", low=2)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.num_steps, collections=("weights", "updates"))

    def check(self, view: RunView) -> Iterator[Finding]:
        ratios = self._ratios(view)
        if len(ratios) < self.num_steps or not ratios.names:
            have = min(len(ratios), self.num_steps - 1) if not ratios.names else len(ratios)
            yield self.not_enough_data(have=have, of="saved updates of hidden layers at a full learning rate")
            return
        last = max(self.num_steps, len(ratios) // 2)
        recent = select_steps(ratios, np.arange(len(ratios)) >= len(ratios) - last)
        of_layers = finite_median(recent.values, axis=0)
        value = float(finite_median(of_layers))
        state = loss_progress(view)
        if value > self.large_threshold:
            yield self._finding(view, recent, of_layers, value, large=True)
        elif 0 < value < self.small_threshold and state is not None and not state.low:
            yield self._finding(view, recent, of_layers, value, large=False)
        else:
            yield self.clear(value=None if np.isnan(value) else value, threshold=self.large_threshold)

    def _ratios(self, view: RunView) -> StatisticTable:
        """Norm of the update over that of the weights, (S, L), at the steps where updates were saved."""
        weights, updates = view.statistic("l2", "weights"), view.statistic("l2", "updates")
        names = [p.name for p in trained_weights(view.facts) if not p.head and f"update/{p.name}" in updates.names]
        rows = np.isin(weights.steps, updates.steps) & above_low_rate(view, weights.steps)
        saved = np.isin(updates.steps, weights.steps[rows])
        before = columns(select_steps(weights, rows), names)
        change = columns(select_steps(updates, saved), [f"update/{name}" for name in names])
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(before > 0, change / before, np.nan)
        return replace(select_steps(weights, rows), names=tuple(names), values=values)

    def _finding(
        self, view: RunView, recent: StatisticTable, of_layers: np.ndarray, value: float, *, large: bool
    ) -> Finding:
        worst = int(np.nanargmax(of_layers) if large else np.nanargmin(of_layers))
        rate = peak_learning_rate(view)
        wanted = rate * _USUAL / value
        wanted = max(wanted, rate / 1000) if large else min(wanted, rate * 1000, 1.0)
        series = finite_median(recent.values, axis=1)
        known = np.isfinite(series)
        effect = "weights are replaced, not trained" if large else "the updates are lost in rounding"
        return self.found(
            value=value,
            threshold=self.large_threshold if large else self.small_threshold,
            unit="of the weights",
            steps=(int(recent.steps[0]), int(recent.steps[-1])),
            subject=recent.names[worst],
            cause=f"at the median a step changes {value:.2g} of a layer's weights, where 0.001 is usual: {effect}",
            fix={"lr": float(f"{wanted:.1e}")} if rate > 0 else {},
            confidence=0.8,
            evidence=Series.of("update over weights", recent.steps[known], series[known]),
        )
