"""DeadRelu: layers of ReLUs that answer nothing but 0."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs
from clearsight.core.settings import setting
from clearsight.core.view import RunView, StatisticTable
from clearsight.debugger.analysis.loss_curve import lower_rate_fix
from clearsight.debugger.analysis.parameters import select_tensors
from clearsight.debugger.analysis.scope import ScopedRule, module_of

_MANY = 0.5  # of the ReLU layers: from here on hardly anything passes through the network


class DeadRelu(ScopedRule):
    """Found when in a layer more than `threshold_layer` of the ReLUs are active in less than `threshold_inactivity`.

    What is saved is how many of a layer's outputs are 0, not whose. But if a share a of all outputs is not 0, then at
    most a share a / i of the ReLUs can be active in i or more of their answers (Markov's inequality), so the rule
    speaks where a < i * (1 - l): with 1 % and 50 %, where 99.5 % of the outputs are 0. It never says so of a layer
    that SageMaker's rule of this name would let pass; that one has to keep every output. Healthy layers have 50 to
    90 % zeros. `patience` saved steps in a row up to the newest must agree. ReLU6 counts; layers that are frozen in
    evaluation mode do not.
    """

    explains = (
        *("AllZero", "UnchangedTensor", "VanishingGradient", "HeadNotLearning", "LossNotDecreasing"),
        *("UnderfitCapacity", "LearningRateTooLow", "WeightUpdateRatio", "Confusion"),
    )

    threshold_inactivity: float = setting(1.0, "a ReLU that is active less often is dead", above=0, high=100, unit="%")
    threshold_layer: float = setting(50.0, "share of a layer's ReLUs that are dead", low=0, below=100, unit="%")
    patience: int = setting(3, "saved steps in a row", low=1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.patience, collections=("activations",))

    @property
    def _border(self) -> float:
        return 1 - self.threshold_inactivity / 100 * (1 - self.threshold_layer / 100)

    def check(self, view: RunView) -> Iterator[Finding]:
        zeros, layers = self.wanted(view, "zero_fraction", "activations"), view.facts.layers
        relus = {layer.name for layer in layers if layer.kind == "relu" and not layer.frozen}
        if layers and not relus:
            yield self.clear(cause="no layer of ReLUs is trained")
            return
        zeros = select_tensors(zeros, [name for name in zeros.names if _is_relu(name, relus, known=bool(layers))])
        if len(zeros) < self.patience or not zeros.names:
            yield self.not_enough_data(have=len(zeros) if zeros.names else 0)
            return
        dead = zeros.values > self._border
        lasting = np.where(dead.all(axis=0), len(dead), np.argmin(dead[::-1], axis=0))  # up to the newest step
        if lasting.max() < self.patience:
            yield self.clear(value=float(np.nanmax(zeros.values[-1], initial=0.0)), threshold=self._border)
            return
        worst = int(np.argmax(lasting))
        yield self._finding(view, select_tensors(zeros, [zeros.names[worst]]), lasting, int(lasting[worst]))

    def _finding(self, view: RunView, layer: StatisticTable, lasting: npt.NDArray[np.int64], saved: int) -> Finding:
        steps, zeros, name = layer.steps[-saved:], layer.values[-saved:, 0], module_of(layer.names[0])
        born = int(steps[0]) == 1  # before the first update
        dead, layers = int((lasting >= self.patience).sum()), len(lasting)
        fresh = {"weights": "default"} if view.facts.settings.get("weights") == "none" else {}
        return self.found(
            value=float(zeros[-1]),
            threshold=self._border,
            unit="of the outputs are 0",
            steps=(int(steps[0]), int(steps[-1])),
            subject=name,
            severity=Severity.SEVERE if dead >= _MANY * layers else Severity.WARNING,
            cause=f"from step {steps[0]} on {zeros[-1]:.1%} of the outputs of {name} are 0 ({dead} of {layers} "
            "ReLU layers are dead): no gradient passes",
            fix=fresh if born else lower_rate_fix(view),
            advice="Start biases at 0 and weights as in He et al. 2015, or use LeakyReLU or GELU." if born else "",
            evidence=Series.of(f"zeros of {name}", steps, zeros),
        )


def _is_relu(name: str, relus: set[str], *, known: bool) -> bool:
    module = module_of(name)
    return module in relus if known else "relu" in module.rsplit(".", 1)[-1].lower()
