"""FrozenByMistake: what should be trained is not, because nobody told the optimizer or the parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from clearsight.core.context import ParameterInfo, RunContext
from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.loss_curve import above_low_rate
from clearsight.debugger.analysis.parameters import columns, is_trained, layer_weights, select_steps, trained_weights

_HAND_OVER = "Pass model.parameters() to the optimizer after the model is complete, the new last layer included."
_UNFREEZE = "Set requires_grad of the last layer's parameters, and pass them to the optimizer."


class FrozenByMistake(Rule):
    """Found when nothing is trained, or the last layer is not, or the optimizer lacks trainable layers, or none moves.

    A frozen backbone under a trained last layer is how one trains on few images, and is clear, in part as well as
    whole. A last layer that is not trained makes every other layer serve random weights. What is trained is known
    before the first step, so the rule need not wait. Weights that get a gradient and never change, at a learning rate
    above 0 and over `patience` saved steps, are frozen too, whatever the optimizer says: it holds a copy of the model,
    or their group has a rate of 0.
    """

    severity = Severity.SEVERE
    explains = (
        *("UnchangedTensor", "AllZero", "HeadNotLearning", "LossNotDecreasing", "UnderfitCapacity"),
        *("LearningRateTooLow", "WeightUpdateRatio", "VanishingGradient", "Confusion", "ScheduleMismatch"),
        *("StalledTraining", "Overtraining", "DeadRelu", "GradientsNotCleared"),
    )

    patience: int = setting(3, "saved steps over which a weight must have rested", low=2)

    def needs(self) -> Needs:
        return Needs(points=1)

    def check(self, view: RunView) -> Iterator[Finding]:
        facts = view.facts
        if not facts.parameters:
            yield self.not_enough_data(have=0, of="lists of what is trained")
            return
        yield (
            self._nothing(view)
            or self._head(view)
            or self._resting(view)
            or self._forgotten(view)
            or self.clear(value=_share(facts), threshold=0)
        )

    def _nothing(self, view: RunView) -> Finding | None:
        facts = view.facts
        if any(is_trained(parameter, facts) for parameter in facts.parameters):
            return None
        trainable = any(parameter.trainable for parameter in facts.parameters)
        why = "the optimizer holds none of them" if trainable else "none of them takes a gradient"
        return self._finding(
            view,
            value=0.0,
            subject="all parameters",
            cause=f"nothing is trained: of {len(facts.parameters)} parameters {why}",
            advice=_HAND_OVER,
        )

    def _head(self, view: RunView) -> Finding | None:
        facts = view.facts
        head = [parameter for parameter in layer_weights(facts) if parameter.head]
        if not head or any(is_trained(parameter, facts) for parameter in head) or _other_head(view, head[-1]):
            return None
        missing = "the optimizer does not hold it" if head[-1].trainable else "it takes no gradient"
        return self._finding(
            view,
            value=_share(facts),
            subject=head[-1].layer or head[-1].name,
            cause=f"the last layer, {head[-1].layer or head[-1].name}, is not trained: {missing}, while "
            f"{_share(facts):.0%} of the parameters are",
            advice=_UNFREEZE,
        )

    def _resting(self, view: RunView) -> Finding | None:
        """Weights with a gradient that no step changes."""
        zeros, norms = view.statistic("zero_fraction", "updates"), view.statistic("l2", "gradients")
        names = [p.name for p in trained_weights(view.facts) if f"update/{p.name}" in zeros.names]
        rows = above_low_rate(view, zeros.steps) & np.isin(zeros.steps, norms.steps)
        if not names or rows.sum() < self.patience or not len(view.scalar("lr")):
            return None
        still = columns(select_steps(zeros, rows), [f"update/{name}" for name in names]) >= 1
        pulled = (
            columns(select_steps(norms, np.isin(norms.steps, zeros.steps[rows])), [f"gradient/{n}" for n in names]) > 0
        )
        stuck = [name for i, name in enumerate(names) if still[:, i].all() and pulled[:, i].all()]
        if not stuck:
            return None
        steps, share = zeros.steps[rows], len(stuck) / len(names)
        return self._finding(
            view,
            value=share,
            subject=stuck[0],
            cause=f"{len(stuck)} of {len(names)} weights that the optimizer holds get a gradient and never change",
            advice="Give the optimizer the parameters of this very model, with a learning rate above 0, and do not put "
            "weights back after a step.",
            severity=Severity.SEVERE if share > 0.5 else Severity.WARNING,
            evidence=Series.of("resting weights with a gradient", steps, (still & pulled).mean(axis=1)),
        )

    def _forgotten(self, view: RunView) -> Finding | None:
        facts = view.facts
        if not facts.optimizer:
            return None
        left = [parameter for parameter in layer_weights(facts) if parameter.trainable and not parameter.optimized]
        if not left:
            return None
        others = [parameter for parameter in layer_weights(facts) if not parameter.head]
        on_purpose = not any(is_trained(parameter, facts) for parameter in others)  # the last layer alone is trained
        return self._finding(
            view,
            value=len(left) / len(layer_weights(facts)),
            subject=left[0].name,
            severity=Severity.INFO if on_purpose else Severity.WARNING,
            cause=f"{len(left)} of {len(layer_weights(facts))} weights take gradients, but the optimizer does not hold them",
            advice="Set requires_grad to False for what is to stay as it is: it saves the time of its gradients."
            if on_purpose
            else _HAND_OVER,
        )

    def _finding(self, view: RunView, *, value: float, subject: str, cause: str, advice: str, **more: Any) -> Finding:
        frozen, loss = str(view.facts.settings.get("freeze", "none")) != "none", view.scalar("loss")
        numbers = np.isfinite(loss.values)
        more.setdefault("evidence", Series.of("loss", loss.steps[numbers], loss.values[numbers]))
        return self.found(
            value=value,
            threshold=0,
            unit="of the parameters",
            steps=(1, max(1, view.done())),
            subject=subject,
            cause=cause,
            advice=advice,
            fix={"freeze": "none"} if frozen else {},
            confidence=0.95,
            **more,
        )


def _share(facts: RunContext) -> float:
    """Share of the parameters, by number of tensors, that are trained."""
    return sum(is_trained(parameter, facts) for parameter in facts.parameters) / len(facts.parameters)


def _other_head(view: RunView, last: ParameterInfo) -> bool:
    """Whether another trained layer has the answers: modules need not stand in the order in which they are used."""
    facts = view.facts
    linear = {layer.name for layer in facts.layers if layer.kind == "linear"}
    classes = len(facts.classes)
    trained = [parameter for parameter in trained_weights(facts) if parameter.layer in linear]
    if classes:
        return last.shape[0] != classes and any(parameter.shape[0] == classes for parameter in trained)
    return any(parameter.shape[0] <= last.shape[0] for parameter in trained)
