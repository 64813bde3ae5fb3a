"""AllZero: layers whose weights, gradients or outputs are all zeros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs
from clearsight.core.settings import setting
from clearsight.core.view import RunView, StatisticTable
from clearsight.debugger.analysis.tensors import (
    DEFAULT_COLLECTIONS,
    ScopedRule,
    module_of,
    select_tensors,
    trailing,
    trained_weights,
)

_OUTPUT_KINDS = ("conv", "linear", "norm", "attention", "activation")  # layer kinds whose outputs are not all 0


class AllZero(ScopedRule):
    """Found when `threshold` of a tensor's elements are 0 at every saved step, of which there are `patience` or more.

    The rule judges the weights of trained layers, their gradients and the outputs of their layers: zeros at every step
    mean that the tensor has never taken part. A tensor that starts at 0 and then moves is healthy, such as the last
    scale of a residual branch. SageMaker's rule of this name judges only the tensors that are named to it; `tensors`
    and `collections` name them here, and then the last `patience` saved steps decide. The outputs of ReLUs belong to
    DeadRelu.
    """

    explains = ("VanishingGradient", "UnchangedTensor", "NotLearning", "LossNotDecreasing", "UnderfitCapacity")

    threshold: float = setting(100.0, "share of the elements that are 0", above=0, high=100, unit="%")
    patience: int = setting(3, "saved steps in a row", low=1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.patience, collections=DEFAULT_COLLECTIONS)

    def check(self, view: RunView) -> list[Finding]:
        tables = [self._table(view, collection) for collection in self.chosen_collections()]
        tables = [table for table in tables if table.names]
        saved = max((len(table) for table in tables), default=0)
        if saved < self.patience:
            return [self.not_enough_data(have=saved)]
        found = [finding for table in tables for finding in self._zeros(table)]
        if not found:
            return [self.clear(threshold=self.threshold)]
        others = f"; so are {len(found) - 1} other tensors" if len(found) > 1 else ""
        return [replace(found[0], cause=found[0].cause + others)]

    def _table(self, view: RunView, collection: str) -> StatisticTable:
        table = self.scoped_statistic(view, "zero_fraction", collection)
        if self.scoped:
            return table
        if collection == "activations":
            kinds = {layer.name: layer.kind for layer in view.context.layers if not layer.frozen}
            return select_tensors(table, [name for name in table.names if kinds.get(module_of(name)) in _OUTPUT_KINDS])
        prefix = "gradient/" if collection == "gradients" else ""
        return select_tensors(table, [f"{prefix}{parameter.name}" for parameter in trained_weights(view.context)])

    def _zeros(self, table: StatisticTable) -> Iterator[Finding]:
        for i, name in enumerate(table.names):
            known = np.isfinite(table.values[:, i])
            share, steps = 100 * table.values[known, i], table.steps[known]
            recent = share[-self.patience :] if self.scoped else share
            if len(share) < self.patience or not (recent >= self.threshold).all():
                continue
            # With a scope only the last steps decide, so the zeros may have begun late.
            first = len(share) - trailing(share >= self.threshold)
            yield self.found(
                value=recent.min(),
                threshold=self.threshold,
                unit="% zeros",
                steps=(steps[first], steps[-1]),
                subject=name,
                cause=f"{recent.min():.0f} % of {name} are 0 at all {len(share) - first} saved steps since step "
                f"{steps[first]}",
                advice="Check the layers around it for weights that start at 0, a branch that is not used, or a loss "
                "that does not depend on it.",
                evidence=Series.of(f"zeros of {name}", steps, share),
            )
