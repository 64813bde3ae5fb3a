"""TensorVariance: tensors whose variance leaves given bounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs
from clearsight.core.settings import setting
from clearsight.core.view import RunView, StatisticTable
from clearsight.debugger.analysis.tensors import ScopedRule

_LISTED = 5  # findings at most, the worst


class TensorVariance(ScopedRule):
    """Found when the variance of a tensor's elements is above `max_threshold` or below `min_threshold` at a saved step.

    SageMaker's rule of this name does the same. No bounds fit every tensor, so the rule must be selected by name, with
    at least one of them; without `tensors` or `collections` it judges weights, gradients and activations.
    """

    optional = True

    max_threshold: float | None = setting(None, "largest variance", low=0)
    min_threshold: float | None = setting(None, "smallest variance", low=0)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=1, collections=self.chosen_collections())

    def check(self, view: RunView) -> list[Finding]:
        if self.max_threshold is None and self.min_threshold is None:
            return [self.not_enough_data(have=0, of="bounds", cause="set max_threshold or min_threshold")]
        tables = [self.scoped_statistic(view, "std", collection) for collection in self.chosen_collections()]
        if not any(table.names for table in tables):
            return [self.not_enough_data(have=0)]
        found = [finding for table in tables for finding in self._outside(table)]
        return sorted(found, key=_order)[:_LISTED] or [self.clear()]

    def _outside(self, table: StatisticTable) -> Iterator[Finding]:
        for i, name in enumerate(table.names):
            known = np.isfinite(table.values[:, i])
            variance, steps = np.square(table.values[known, i]), table.steps[known]
            for bound, extreme, word in ((self.max_threshold, np.max, "above"), (self.min_threshold, np.min, "below")):
                if bound is None or not variance.size:
                    continue
                wrong = variance > bound if word == "above" else variance < bound
                if not wrong.any():
                    continue
                yield self.found(
                    value=float(extreme(variance)),
                    threshold=bound,
                    steps=(int(steps[wrong][0]), int(steps[wrong][-1])),
                    subject=name,
                    cause=f"the variance of {name} is {extreme(variance):.3g}, {word} {bound:.3g}, at {wrong.sum()} of "
                    f"{len(wrong)} saved steps",
                    advice="Check the learning rate and the initialisation of this layer, or change the bound.",
                    confidence=1.0,
                    evidence=Series.of(f"variance of {name}", steps, variance),
                )


def _order(finding: Finding) -> float:
    """Return a sort key: the variances furthest outside their bounds come first."""
    value, bound = max(finding.value or 0.0, 1e-30), max(finding.threshold or 0.0, 1e-30)
    return -max(value / bound, bound / value)
