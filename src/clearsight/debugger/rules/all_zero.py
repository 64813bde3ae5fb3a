"""AllZero: layers whose weights, gradients or outputs are nothing but zeros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs
from clearsight.core.settings import setting
from clearsight.core.view import RunView, StatisticTable
from clearsight.debugger.analysis.parameters import select_tensors, trained_weights
from clearsight.debugger.analysis.scope import ScopedRule, module_of

_USUAL = ("weights", "gradients", "activations")
_ANSWERING = ("conv", "linear", "norm", "attention", "activation")  # kinds of layers that do not answer 0 alone


class AllZero(ScopedRule):
    """Found when `threshold` of a tensor's elements are exactly 0 at every saved step, `patience` of them at least.

    Looked at are the weights of layers that are trained, their gradients and their layers' outputs: with zeros at
    every step they have never taken part. One that starts at 0 and moves is well, such as the last scale of a residual
    branch. SageMaker's rule of this name must be told what to look at; `tensors` and `collections` do so here, and
    then the last `patience` saved steps decide. ReLUs are DeadRelu's.
    """

    explains = ("VanishingGradient", "UnchangedTensor", "HeadNotLearning", "LossNotDecreasing", "UnderfitCapacity")

    threshold: float = setting(100.0, "share of the elements that are 0", above=0, high=100, unit="%")
    patience: int = setting(3, "saved steps in a row", low=1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.patience, collections=("weights", "gradients", "activations"))

    def check(self, view: RunView) -> Iterator[Finding]:
        tables = [self._table(view, collection) for collection in self.within(_USUAL)]
        tables = [table for table in tables if table.names]
        saved = max((len(table) for table in tables), default=0)
        if saved < self.patience:
            yield self.not_enough_data(have=saved)
            return
        found = [finding for table in tables for finding in self._zeros(table)]
        if not found:
            yield self.clear(threshold=self.threshold)
            return
        others = f"; so are {len(found) - 1} more tensors" if len(found) > 1 else ""
        yield replace(found[0], cause=found[0].cause + others)

    def _table(self, view: RunView, collection: str) -> StatisticTable:
        table = self.wanted(view, "zero_fraction", collection)
        if self.scoped:
            return table
        if collection == "activations":
            kinds = {layer.name: layer.kind for layer in view.facts.layers if not layer.frozen}
            return select_tensors(table, [name for name in table.names if kinds.get(module_of(name)) in _ANSWERING])
        prefix = "gradient/" if collection == "gradients" else ""
        return select_tensors(table, [f"{prefix}{parameter.name}" for parameter in trained_weights(view.facts)])

    def _zeros(self, table: StatisticTable) -> Iterator[Finding]:
        for i, name in enumerate(table.names):
            there = np.isfinite(table.values[:, i])
            share, steps = 100 * table.values[there, i], table.steps[there]
            looked = share[-self.patience :] if self.scoped else share
            if len(share) < self.patience or not (looked >= self.threshold).all():
                continue
            over = share >= self.threshold
            first = 0 if over.all() else len(over) - int(np.argmin(over[::-1]))
            yield self.found(
                value=float(looked.min()),
                threshold=self.threshold,
                unit="% zeros",
                steps=(int(steps[first]), int(steps[-1])),
                subject=name,
                cause=f"{looked.min():.0f} % of {name} are 0 at all {len(share) - first} saved steps from step "
                f"{steps[first]} on",
                advice="Look at what stands before and behind it: weights that start at 0, a branch that is not used, "
                "a loss that does not reach it.",
                evidence=Series.of(f"zeros of {name}", steps, share),
            )
