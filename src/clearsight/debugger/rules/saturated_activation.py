"""SaturatedActivation: sigmoid or tanh layers whose outputs lie where the slope is near 0."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs
from clearsight.core.settings import setting
from clearsight.core.view import Floats64, RunView, StatisticTable
from clearsight.debugger.analysis.learning_rates import lower_rate_fix
from clearsight.debugger.analysis.tensors import ScopedRule, module_of, select_tensors, trailing

_QUANTILES = {"q01": 0.01, "q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95, "q99": 0.99}
_OTHERS = ("relu", "activation")  # kinds of activations beside which sigmoids are gates


class SaturatedActivation(ScopedRule):
    """Found when `threshold_layer` of a sigmoid or tanh layer's outputs lie where its slope is under 1 % of its best.

    The thresholds are inputs of the functions, as in SageMaker's rule of this name; its own (-23 and 17 for a sigmoid,
    9.5 for a tanh) are where single precision rounds to the end, long after learning has stopped. The rule judges the
    share of outputs beyond the outputs of the thresholds, from the quantiles 1, 5, 25, 50, 75, 95 and 99 %, so it is a
    lower bound. A network with other activations uses sigmoids as gates, which are meant to close and open: there only
    the layers that `tensors` names are judged. The last layer of a network is not.
    """

    explains = (
        *("VanishingGradient", "AllZero", "UnchangedTensor", "NotLearning", "LossNotDecreasing"),
        *("UnderfitCapacity", "LearningRateTooLow", "WeightUpdateRatio", "Confusion"),
    )
    unused = ("threshold_inactivity",)

    threshold_tanh_min: float = setting(-3.0, "input below which a tanh is saturated", below=0)
    threshold_tanh_max: float = setting(3.0, "input above which a tanh is saturated", above=0)
    threshold_sigmoid_min: float = setting(-6.0, "input below which a sigmoid is saturated", below=0)
    threshold_sigmoid_max: float = setting(6.0, "input above which a sigmoid is saturated", above=0)
    threshold_layer: float = setting(50.0, "share of a layer's outputs that are saturated", above=0, high=100, unit="%")
    patience: int = setting(3, "saved steps in a row", low=1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.patience, collections=("activations",))

    def check(self, view: RunView) -> list[Finding]:
        kinds = self._kinds(view)
        if view.context.layers and not kinds:
            return [self.clear(cause="the network has no sigmoid or tanh as its activation")]
        tables = {name: self.scoped_statistic(view, name, "activations") for name in _QUANTILES}
        names = [name for name in tables["q50"].names if module_of(name) in kinds]
        saved = len(tables["q50"])
        if saved < self.patience or not names:
            return [self.not_enough_data(have=min(saved, self.patience - 1) if not names else saved)]
        steps, limit = tables["q50"].steps, self.threshold_layer / 100
        shares = {name: self._share(tables, name, kinds[module_of(name)]) for name in names}
        recent = {name: float(share[-self.patience :].min()) for name, share in shares.items()}
        found = sorted((name for name in names if recent[name] >= limit), key=lambda name: -recent[name])
        if not found:
            return [self.clear(value=max(recent.values()), threshold=limit)]
        share, layer = shares[found[0]], module_of(found[0])
        first = len(share) - trailing(share >= limit)
        finding = self.found(
            value=share[-1],
            threshold=limit,
            unit="of the outputs",
            steps=(steps[first], steps[-1]),
            subject=layer,
            cause=f"since step {steps[first]} at least {share[-1]:.0%} of the outputs of {layer} lie at its ends, "
            f"where the slope is near 0 ({len(found)} of {len(names)} such layers)",
            fix=lower_rate_fix(view) if first else {},
            advice="Use ReLU or GELU, or put a norm in front of the layer and initialise as in Glorot and Bengio 2010.",
            evidence=Series.of(f"saturated share of {layer}", steps, share),
        )
        return [finding]

    def _kinds(self, view: RunView) -> dict[str, str]:
        layers = view.context.layers
        if any(layer.kind in _OTHERS for layer in layers) and not self.tensors:
            return {}
        return {layer.name: layer.kind for layer in layers[:-1] if layer.kind in ("sigmoid", "tanh")}

    def _share(self, tables: Mapping[str, StatisticTable], name: str, kind: str) -> Floats64:
        """Return a lower bound of the share of saturated outputs at each saved step, (S,)."""
        if kind == "tanh":
            low, high = math.tanh(self.threshold_tanh_min), math.tanh(self.threshold_tanh_max)
        else:
            low, high = (1 / (1 + math.exp(-x)) for x in (self.threshold_sigmoid_min, self.threshold_sigmoid_max))
        values = np.stack([select_tensors(tables[quantile], [name]).values[:, 0] for quantile in _QUANTILES])
        ranks = np.array(list(_QUANTILES.values()))[:, None]
        below, above = values <= low, values >= high
        # A quantile at the end means that at least its rank of the outputs are there.
        return np.asarray(np.where(below, ranks, 0.0).max(axis=0) + np.where(above, 1 - ranks, 0.0).max(axis=0))
