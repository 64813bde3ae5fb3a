"""DeadRelu: ReLU layers whose outputs are (nearly) all 0."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.learning_rates import lower_rate_fix
from clearsight.debugger.analysis.tensors import ScopedRule, module_of, select_tensors

_SEVERE = 0.5  # of the ReLU layers: from here on hardly any signal passes through the network


class DeadRelu(ScopedRule):
    """Found when more than `threshold_layer` of a layer's ReLUs are active in under `threshold_inactivity` of the
    outputs.

    Snapshots record how many of a layer's outputs are 0, not which. But if a share a of all outputs is not 0, then at
    most a share a / i of the ReLUs can be active in a share i or more of their outputs (Markov's inequality). So a
    layer is found where a < i * (1 - l), with i the inactivity and l the layer's threshold: with 1 % and 50 %, where
    99.5 % of the outputs are 0. This never finds a layer that SageMaker's rule of this name would accept; that one has
    to save every output. Healthy layers have 50 to 90 % zeros. `patience` saved steps in a row up to the newest must
    agree. ReLU6 counts; layers that are frozen in evaluation mode do not.
    """

    explains = (
        *("AllZero", "UnchangedTensor", "VanishingGradient", "NotLearning", "LossNotDecreasing"),
        *("UnderfitCapacity", "LearningRateTooLow", "WeightUpdateRatio", "Confusion"),
    )

    threshold_inactivity: float = setting(
        1.0, "share of outputs below which a ReLU is dead", above=0, high=100, unit="%"
    )
    threshold_layer: float = setting(50.0, "share of dead ReLUs in a layer", low=0, below=100, unit="%")
    patience: int = setting(3, "saved steps in a row", low=1)

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.patience, collections=("activations",))

    @property
    def _limit(self) -> float:
        return 1 - self.threshold_inactivity / 100 * (1 - self.threshold_layer / 100)

    def check(self, view: RunView) -> list[Finding]:
        zeros, layers = self.scoped_statistic(view, "zero_fraction", "activations"), view.context.layers
        relus = {layer.name for layer in layers if layer.kind == "relu" and not layer.frozen}
        if layers and not relus:
            return [self.clear(cause="no ReLU layer is trained")]
        if not layers:  # by their names
            relus = {module_of(name) for name in zeros.names if "relu" in module_of(name).rsplit(".", 1)[-1].lower()}
        zeros = select_tensors(zeros, [name for name in zeros.names if module_of(name) in relus])
        if len(zeros) < self.patience or not zeros.names:
            return [self.not_enough_data(have=len(zeros) if zeros.names else 0)]
        dead = zeros.values > self._limit
        lasting = np.where(dead.all(axis=0), len(dead), np.argmin(dead[::-1], axis=0))  # up to the newest step
        if lasting.max() < self.patience:
            return [self.clear(value=float(np.nanmax(zeros.values[-1], initial=0.0)), threshold=self._limit)]
        worst = int(np.argmax(lasting))
        steps, share = zeros.steps[-lasting[worst] :], zeros.values[-lasting[worst] :, worst]
        name = module_of(zeros.names[worst])
        from_start = int(steps[0]) == 1  # before the first update
        dead_layers = (lasting >= self.patience).sum()
        # Dead before the first update: the initialisation is to blame, and no learning rate helps.
        pretrained_fix = {"weights": "default"} if view.context.settings.get("weights") == "none" else {}
        finding = self.found(
            value=share[-1],
            threshold=self._limit,
            unit="of the outputs are 0",
            steps=(steps[0], steps[-1]),
            subject=name,
            severity=Severity.SEVERE if dead_layers >= _SEVERE * len(lasting) else Severity.WARNING,
            cause=f"since step {steps[0]}, {share[-1]:.1%} of the outputs of {name} are 0 ({dead_layers} of "
            f"{len(lasting)} ReLU layers are dead), so no gradient passes",
            fix=pretrained_fix if from_start else lower_rate_fix(view),
            advice="Initialise biases with 0 and weights as in He et al. 2015, or use LeakyReLU or GELU."
            if from_start
            else "",
            evidence=Series.of(f"zeros of {name}", steps, share),
        )
        return [finding]
