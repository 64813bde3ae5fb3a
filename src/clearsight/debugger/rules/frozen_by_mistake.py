"""FrozenByMistake: layers that should be trained are not, because of the optimizer or of requires_grad."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.context import ParameterInfo, RunContext
from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.learning_rates import above_low_rate
from clearsight.debugger.analysis.loss_curve import loss_curve
from clearsight.debugger.analysis.tensors import columns, is_trained, layer_weights, select_steps, trained_weights

_PASS_ALL = "Pass model.parameters() to the optimizer after the model is complete, the new last layer included."
_RANDOM = 0.9  # share of the layers that looked random
_UNFREEZE = "Set requires_grad of the last layer's parameters, and pass them to the optimizer."


class FrozenByMistake(Rule):
    """Found when nothing is trained, the last layer is not, the optimizer lacks trainable layers, or no weight moves.

    A frozen backbone under a trained last layer is how one trains on few images: it is clear, in part as well as whole.
    A last layer that is not trained makes every other layer serve random weights. What is trained is known before the
    first step, so the rule need not wait. Weights that get a gradient and never change, at a learning rate above 0 and
    over `patience` saved steps, are frozen too, whatever the optimizer says: it holds a copy of the model, or their
    group has a rate of 0. So are weights that never get a gradient while others do, and weights that the outputs
    depend on although neither the model nor an optimizer knows them, and weights that the loop unfreezes although its
    optimizer does not hold them, or by an attribute that does nothing. SageMaker has no such rule.
    """

    severity = Severity.SEVERE
    explains = (
        *("UnchangedTensor", "AllZero", "NotLearning", "LossNotDecreasing", "UnderfitCapacity"),
        *("LearningRateTooLow", "WeightUpdateRatio", "VanishingGradient", "Confusion", "ScheduleMismatch"),
        *("StalledTraining", "Overtraining", "DeadRelu", "GradientsNotCleared", "UpdateMissing"),
        "PoorWeightInitialization",
    )

    patience: int = setting(3, "saved steps over which a weight must not have changed", low=2)

    def needs(self) -> Needs:
        return Needs(points=1)

    def check(self, view: RunView) -> list[Finding]:
        context = view.context
        if not context.parameters:
            return [self.not_enough_data(have=0, of="lists of trained parameters")]
        # From the largest fault to the smallest: only one is reported.
        fault = self._nothing(view) or self._hidden(view)
        fault = fault or self._head(view) or self._unmoved(view) or self._cut_off(view)
        fault = fault or self._unfrozen(view) or self._missing_in_optimizer(view)
        return [fault or self.clear(value=_share(context), threshold=0)]

    def _nothing(self, view: RunView) -> Finding | None:
        context = view.context
        if any(is_trained(parameter, context) for parameter in context.parameters):
            return None
        trainable = any(parameter.trainable for parameter in context.parameters)
        reason = "the optimizer holds none of them" if trainable else "none of them takes a gradient"
        return self._finding(
            view,
            value=0.0,
            subject="all parameters",
            cause=f"nothing is trained: of {len(context.parameters)} parameters {reason}",
            advice=_PASS_ALL,
        )

    def _hidden(self, view: RunView) -> Finding | None:
        """Return a finding for weights behind the outputs that are no parameters of the model."""
        loop = view.context.loop
        if not loop.hidden_weights:
            return None
        cause = f"the outputs depend on {loop.hidden_weights} weights that are no parameters of the model and that no "
        cause += "optimizer holds"
        advice = "Keep layers in nn.ModuleList or nn.ModuleDict instead of a list or a dict."
        if loop.renewed_weights:
            cause += "; they are new ones in every forward pass, so that nothing about them is learned"
            advice = "Make layers in __init__ and not in forward."
        return self._finding(
            view,
            value=float(loop.hidden_weights),
            subject="weights that the model does not know",
            cause=cause,
            advice=f"{advice} Then pass model.parameters() to the optimizer.",
            severity=Severity.SEVERE if loop.renewed_weights else Severity.WARNING,
        )

    def _head(self, view: RunView) -> Finding | None:
        context = view.context
        head = [parameter for parameter in layer_weights(context) if parameter.head]
        if not head or any(is_trained(parameter, context) for parameter in head) or _other_head(view, head[-1]):
            return None
        reason = "the optimizer does not hold it" if head[-1].trainable else "it takes no gradient"
        return self._finding(
            view,
            value=_share(context),
            subject=head[-1].layer or head[-1].name,
            cause=f"the last layer, {head[-1].layer or head[-1].name}, is not trained: {reason}, while "
            f"{_share(context):.0%} of the parameters are",
            advice=_UNFREEZE,
        )

    def _unmoved(self, view: RunView) -> Finding | None:
        """Return a finding for weights with a gradient that no step changes."""
        zeros, norms = view.statistic("zero_fraction", "updates"), view.statistic("l2", "gradients")
        names = [weight.name for weight in trained_weights(view.context) if f"update/{weight.name}" in zeros.names]
        rows = above_low_rate(view, zeros.steps) & np.isin(zeros.steps, norms.steps)
        if not names or rows.sum() < self.patience or not len(view.scalar("lr")):
            return None
        unchanged = columns(select_steps(zeros, rows), [f"update/{name}" for name in names]) >= 1
        same_steps = select_steps(norms, np.isin(norms.steps, zeros.steps[rows]))
        has_gradient = columns(same_steps, [f"gradient/{name}" for name in names]) > 0
        stuck = [name for i, name in enumerate(names) if unchanged[:, i].all() and has_gradient[:, i].all()]
        if not stuck:
            return None
        steps, share = zeros.steps[rows], len(stuck) / len(names)
        return self._finding(
            view,
            value=share,
            subject=stuck[0],
            cause=f"{len(stuck)} of {len(names)} weights of the optimizer get a gradient and never change",
            advice="Give the optimizer the parameters of this very model, with a learning rate above 0, and do not "
            "restore weights after a step.",
            severity=Severity.SEVERE if share > 0.5 else Severity.WARNING,
            evidence=Series.of("unchanged weights with a gradient", steps, (unchanged & has_gradient).mean(axis=1)),
        )

    def _cut_off(self, view: RunView) -> Finding | None:
        """Return a finding for weights that never get a gradient, while others do."""
        norms = view.statistic("l2", "gradients")
        # Weights of a second phase had no gradients in the first.
        norms = select_steps(norms, norms.steps >= view.context.optimizer_since)
        names = [weight.name for weight in trained_weights(view.context)]
        missing = [name for name in names if f"gradient/{name}" not in norms.names]
        if len(norms) < self.patience or not missing or len(missing) == len(names):
            return None
        share = len(missing) / len(names)
        return self._finding(
            view,
            value=share,
            subject=missing[0],
            cause=f"{len(missing)} of {len(names)} weights of the optimizer never got a gradient: the loss does not "
            "depend on them, or their outputs are detached",
            advice="Check for .detach(), .data, torch.no_grad() or numpy between these layers and the loss.",
            severity=Severity.SEVERE if share > 0.5 else Severity.WARNING,
        )

    def _unfrozen(self, view: RunView) -> Finding | None:
        """Return a finding for layers that the loop meant to unfreeze."""
        loop, count = view.context.loop, len(layer_weights(view.context))
        if loop.attributes:
            return self._finding(
                view,
                value=loop.attributes / max(1, count),
                subject="requires_grad",
                cause=f"requires_grad was set on {loop.attributes} modules, where it is an attribute without effect: "
                "their parameters are still frozen",
                advice="Call module.requires_grad_(True), before the optimizer is made.",
            )
        if not loop.unfrozen:
            return None
        return self._finding(
            view,
            value=loop.unfrozen / max(1, count),
            subject="unfrozen layers",
            cause=f"{loop.unfrozen} of {count} weights were unfrozen after the training had begun, but the optimizer "
            "that steps does not hold them",
            advice="Unfreeze layers before the second optimizer is made from them, and give this one to the loop.",
        )

    def _missing_in_optimizer(self, view: RunView) -> Finding | None:
        context = view.context
        if not context.optimizer:
            return None
        missing = [parameter for parameter in layer_weights(context) if parameter.trainable and not parameter.optimized]
        if not missing:
            return None
        others = [parameter for parameter in layer_weights(context) if not parameter.head]
        # Training the last layer alone is usual, but not on top of random numbers.
        random = context.random_start is not None and context.random_start >= _RANDOM
        on_purpose = not random and not any(is_trained(parameter, context) for parameter in others)
        return self._finding(
            view,
            value=len(missing) / len(layer_weights(context)),
            subject=missing[0].name,
            severity=Severity.INFO if on_purpose else Severity.WARNING,
            cause=f"{len(missing)} of {len(layer_weights(context))} weights take gradients, but the optimizer does not "
            "hold them" + (", and they began as random numbers" if random else ""),
            advice="Set requires_grad to False for weights that should not change: it saves computing their gradients."
            if on_purpose
            else _PASS_ALL,
        )

    def _finding(self, view: RunView, **more: Any) -> Finding:
        frozen, curve = str(view.context.settings.get("freeze", "none")) != "none", loss_curve(view)
        more.setdefault("evidence", Series.of("loss", curve.steps, curve.losses))
        return self.found(
            threshold=0,
            unit="of the parameters",
            steps=(1, max(1, view.done())),
            fix={"freeze": "none"} if frozen else {},
            confidence=0.95,
            **more,
        )


def _share(context: RunContext) -> float:
    """Return the share of the parameters, by number of tensors, that are trained."""
    return sum(is_trained(parameter, context) for parameter in context.parameters) / len(context.parameters)


def _other_head(view: RunView, last: ParameterInfo) -> bool:
    """Return True if another trained layer has the outputs: modules need not stand in the order of their use."""
    context = view.context
    linear = {layer.name for layer in context.layers if layer.kind == "linear"}
    classes = len(context.classes)
    trained = [parameter for parameter in trained_weights(context) if parameter.layer in linear]
    # The true head has as many outputs as there are classes, or as few as the last layer where they are not known.
    if classes:
        return last.shape[0] != classes and any(parameter.shape[0] == classes for parameter in trained)
    return any(parameter.shape[0] <= last.shape[0] for parameter in trained)
