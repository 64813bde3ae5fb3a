"""UnderfitCapacity: everything works, and the model is too small to do better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding
from clearsight.core.learning_rates import optimizer_family, usual_rate
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.learning_rates import head_only
from clearsight.debugger.analysis.loss_curve import TrainValidCurves, Trend, loss_curve, train_valid_curves, trend

_WORKING_RATE = 0.2  # of the peak rate: below it a flat loss is what the schedule wants
_LEAST = 30  # steps at such a rate
_EXCLUDED_FALL = 0.06  # of the chance-level loss: such a fall must be excluded
_LEARNED = 0.95  # of the chance-level loss: above it nothing is learned, for another cause
_MIN_UPDATE = 1e-4  # update over weights: below it the learning rate is the cause
_SMALL = 20_000  # trained weights, below which a whole network is small


class UnderfitCapacity(Rule):
    """Found when the training loss has settled high, validation is as good, and few of the weights may learn.

    The loss must have learned something and stay above `high` x the chance-level loss for half of the steps at a
    working rate without falling, with validation within `gap` of it: the model cannot even tell its training images
    apart. And there must be a reason to suspect the capacity: only the head learns, or fewer than 20,000 weights do.
    Where all of a large network learns, the cause is another one, and other rules find it. SageMaker has no such rule.
    """

    high: float = setting(
        0.55, "smallest loss at which it has settled", above=0, below=1, unit="of the chance-level loss"
    )
    gap: float = setting(
        0.1, "largest difference of validation and training loss", above=0, unit="of the chance-level loss"
    )
    evaluations: int = setting(4, "evaluations that are needed", low=2, unit="evaluations", aliases=("rounds",))

    def needs(self) -> Needs:
        return Needs(counted="evaluations", points=self.evaluations)

    def check(self, view: RunView) -> list[Finding]:
        curve, curves = loss_curve(view), train_valid_curves(view)
        if len(curves) < self.evaluations:
            return [self.not_enough_data(have=len(curves))]
        working = curve.after_warm_up().at_rate(_WORKING_RATE)
        needed = curve.needed_steps(2 * _LEAST, 0.5)
        if len(working) < needed:
            return [self.not_enough_data(have=len(working), want=needed, cause="too few steps at a working rate")]
        recent = working.last(len(working) // 2)
        line = trend(recent.losses)
        level = curve.share_of_chance(line.late)
        reason = _capacity_reason(view.context)
        if not reason or not self._is_settled(view, curves, line, level):
            return [self.clear(value=level, threshold=self.high, unit="of the chance-level loss")]
        fix = _remedy(view.context)
        finding = self.found(
            value=level,
            threshold=self.high,
            unit="of the chance-level loss",
            steps=recent.span(),
            subject="loss",
            cause=f"the training loss has settled at {line.late:.2f} (chance level: {curve.chance:.2f}), that of "
            f"validation at {curves.valid[-1]:.2f}, and {reason}",
            fix=fix,
            advice="" if fix else "Use a larger network or pretrained weights.",
            confidence=0.6,
            evidence=curves.evidence(),
        )
        return [finding]

    def _is_settled(self, view: RunView, curves: TrainValidCurves, line: Trend, level: float) -> bool:
        ratio = view.scalar("update_ratio").values
        updates = ratio[np.isfinite(ratio) & (ratio > 0)]
        # Neither falling nor rising beyond noise, and a useful fall can be excluded.
        flat = abs(line.drop) < 2 * line.error and line.largest_drop < _EXCLUDED_FALL * curves.chance
        valid_gap = (np.median(curves.valid[-2:]) - np.median(curves.train[-2:])) / curves.chance
        return bool(
            self.high < level < _LEARNED
            and flat
            and abs(valid_gap) < self.gap
            and (not len(updates) or np.median(updates) > _MIN_UPDATE)
        )


def _capacity_reason(context: RunContext) -> str:
    """Return why the network may be too small for its task, "" where nothing suggests it."""
    trained = sum(int(np.prod(weight.shape)) for weight in context.parameters if weight.trainable and weight.optimized)
    if head_only(context) or context.settings.get("freeze") == "backbone":
        return "only the head learns"
    if context.parameters and trained < _SMALL:
        return f"only {trained:,} weights learn"
    return ""


def _remedy(context: RunContext) -> Mapping[str, Any]:
    """Return a fix that trains the whole network, at a rate that suits it."""
    if context.settings.get("freeze", "none") == "none":
        return {}
    usual = usual_rate(context.optimizer)
    too_high = context.lr > usual and optimizer_family(context.optimizer) == "adaptive"
    return {"freeze": "none", **({"lr": usual} if too_high else {})}
