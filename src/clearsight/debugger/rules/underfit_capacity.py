"""UnderfitCapacity: everything works, and the model can do no better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.generalisation import TrainValidCurves, train_valid_curves
from clearsight.debugger.analysis.learning_rates import head_only, optimizer_family, usual_rate
from clearsight.debugger.analysis.loss_curve import Trend, loss_curve, trend

_AT_WORK = 0.2  # of the peak rate: below it a flat loss is what the schedule wants
_LEAST = 30  # steps at such a rate
_BLUR = 0.06  # of the loss of guessing: such a fall must be out of the question
_LEARNED = 0.95  # of the loss of guessing: above it something else is wrong
_MOVES = 1e-4  # size of an update in the weights: below it the rate is to blame
_SMALL = 20_000  # parameters that learn, for a network as a whole


class UnderfitCapacity(Rule):
    """Found when the training loss has settled high, validation is just as good, and little of the network may learn.

    The loss must have learned something, stay above `high` x the loss of guessing for half of the steps at a working
    rate without falling, with validation within `gap` of it: a model that cannot even tell its training images apart.
    And there must be a reason to think of capacity: only the head learns, or fewer than 20,000 weights do. Where all of
    a large network learns, the reason lies elsewhere, and other rules say so. SageMaker has no such rule.
    """

    high: float = setting(0.55, "loss at which it has settled", above=0, below=1, unit="of the loss of guessing")
    gap: float = setting(0.1, "validation loss over that of training", above=0, unit="of the loss of guessing")
    rounds: int = setting(4, "evaluations", low=2, unit="evaluations")

    def needs(self) -> Needs:
        return Needs(counted="rounds", points=self.rounds)

    def check(self, view: RunView) -> Iterator[Finding]:
        seen, beside = loss_curve(view), train_valid_curves(view)
        if len(beside) < self.rounds:
            yield self.not_enough_data(have=len(beside))
            return
        working = seen.warm().powered(_AT_WORK)
        want = seen.wanted(2 * _LEAST, 0.5)
        if len(working) < want:
            yield self.not_enough_data(have=len(working), want=want, cause="too few steps at a working rate")
            return
        recent = working.last(len(working) // 2)
        line = trend(recent.losses)
        height = seen.height(line.now)
        reason = _capacity(view.facts)
        if not reason or not self._settled(view, beside, line, height):
            yield self.clear(value=height, threshold=self.high, unit="of the loss of guessing")
            return
        yield self.found(
            value=height,
            threshold=self.high,
            unit="of the loss of guessing",
            steps=recent.span(),
            subject="loss",
            cause=(
                f"the training loss has settled at {line.now:.2f} (guessing costs {seen.chance:.2f}), validation is as "
                f"good at {beside.valid[-1]:.2f}, and {reason}"
            ),
            fix=_remedy(view.facts),
            advice="" if _remedy(view.facts) else "Take a larger network, or pretrained weights.",
            confidence=0.6,
            evidence=(
                Series.of("training loss", beside.steps, beside.train),
                Series.of("validation loss", beside.steps, beside.valid),
            ),
        )

    def _settled(self, view: RunView, beside: TrainValidCurves, line: Trend, height: float) -> bool:
        ratio = view.scalar("update_ratio").values
        moves = ratio[np.isfinite(ratio) & (ratio > 0)]
        still = line.drop < 2 * line.error and line.most < _BLUR * beside.chance and -line.drop < 2 * line.error
        apart = (np.median(beside.valid[-2:]) - np.median(beside.train[-2:])) / beside.chance
        return bool(
            self.high < height < _LEARNED
            and still
            and abs(apart) < self.gap
            and (not len(moves) or np.median(moves) > _MOVES)
        )


def _capacity(facts: RunContext) -> str:
    """Why the network may be too small for its task, "" where nothing says so."""
    moving = sum(int(np.prod(p.shape)) for p in facts.parameters if p.trainable and p.optimized)
    if head_only(facts) or facts.settings.get("freeze") == "backbone":
        return "only the head learns"
    if facts.parameters and moving < _SMALL:
        return f"only {moving:,} weights learn"
    return ""


def _remedy(facts: RunContext) -> Mapping[str, Any]:
    """Let all of the network learn, at a rate that is fit for that."""
    if facts.settings.get("freeze", "none") == "none":
        return {}
    rate = {"lr": usual_rate(facts)} if facts.lr > usual_rate(facts) and optimizer_family(facts) == "adaptive" else {}
    return {"freeze": "none", **rate}
