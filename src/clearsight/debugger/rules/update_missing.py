"""UpdateMissing: gradients that the loop computes never become an update of the weights, or one that does not last."""

from __future__ import annotations

import numpy as np

from clearsight.core.context import LoopInfo
from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.weight_writes import overwritten

_OVERWRITTEN = (
    "Load, reset or clamp weights before the training, or once, not in the loop: leave them to the optimizer."
)
_ORDER = "In every step: optimizer.zero_grad(), loss.backward(), optimizer.step(), in this order."


class UpdateMissing(Rule):
    """Found when backward passes have no optimizer steps, steps find no gradients, or something takes them back.

    A hook counts both in an external loop; an optimizer that was not passed to it counts from its first step. Exact
    causes are told apart: no step at all, steps of another optimizer, gradients that are cleared before the step, a
    loss that does not reach the model, and another model than the watched one that is run. Found too where training
    batches meet the model and neither a backward nor a step follows: all batches of the loop, or most of those of its
    training DataLoader. Accumulated batches are clear: their gradients are still there at the next step, or their
    losses are added up until then.

    An update is lost too where something else than the optimizer writes the weights. A sample of their values tells:
    they are set back again and again to those from before the training, or to those of an epoch that is not the best;
    all of them get new values; nearly all of the way of the optimizer is taken back; or they are cut to a size that
    most of them exceeded at the start. A single return is clear, and so are returns to the best epoch, averages that
    are put in for an evaluation, small corrections such as a largest norm, steps half-way back (Lookahead), and weights
    that begin anew with another optimizer, as for the folds of a cross-validation. SageMaker has no such rule.
    """

    severity = Severity.SEVERE
    explains = (
        *("UnchangedTensor", "AllZero", "NotLearning", "LossNotDecreasing", "UnderfitCapacity", "Overtraining"),
        *("LearningRateTooLow", "WeightUpdateRatio", "VanishingGradient", "Confusion", "ScheduleMismatch"),
        *("StalledTraining", "LossOscillating", "GradientsNotCleared", "WorseFinalWeights"),
    )

    passes: int = setting(8, "backward passes or steps that are needed", low=2)
    share: float = setting(0.5, "share of them that must show it", above=0, high=1)

    def needs(self) -> Needs:
        return Needs(points=self.passes)

    def check(self, view: RunView) -> list[Finding]:
        loop = view.context.loop
        never_run = loop.steps and not loop.forwards
        another = not never_run and loop.unwatched_losses > loop.backwards
        if another and loop.unwatched_losses >= self.passes:
            return [self._another_model(view, loop)]
        seen = max(loop.backwards, loop.steps)
        if skipped := self._skipped(view, loop):
            return [skipped]
        known = bool(view.context.optimizer)
        if seen < self.passes or (not known and loop.moved):  # weights that move without one: an update by hand
            cause = "no optimizer is known" if seen >= self.passes else ""
            return [
                self.not_enough_data(have=min(seen, self.passes), of="backward passes of a watched loop", cause=cause)
            ]
        if not loop.steps:
            return [self._never_stepped(view, loop, "the watched optimizer" if known else "an optimizer of the model")]
        norms = view.scalar("grad_norm").values
        zero = int(np.count_nonzero(norms == 0))
        empty = (loop.empty_steps + zero) / loop.steps
        lost = loop.lost / max(1, loop.backwards)
        if loop.steps >= self.passes and empty > self.share:
            return [self._empty(view, loop, empty, zero)]
        after = loop.unstepped
        if after >= self.passes and after > self.share * loop.backwards:
            until = loop.backwards - after
            cause = f"the watched optimizer made its last step after {until} of {loop.backwards} backward"
            advice = "Make the optimizer once, before the loop, or pass the one that steps to watch()."
            return [self._found(view, after / loop.backwards, f"{cause} passes", advice)]
        if loop.lost >= self.passes and lost > self.share:
            cause = f"the gradients of {loop.lost} of {loop.backwards} backward passes were cleared before any step"
            advice = "Call optimizer.step() after every backward, inside of the loop over the batches. " + _ORDER
            return [self._found(view, lost, cause, advice)]
        if loop.steps >= self.passes and (found := overwritten(view, self.share)) is not None:
            severity = Severity.SEVERE if found.severe else Severity.WARNING
            return [self._found(view, found.share, found.cause, _OVERWRITTEN, severity=severity)]
        return [self.clear(value=max(empty, lost), threshold=self.share)]

    def _skipped(self, view: RunView, loop: LoopInfo) -> Finding | None:
        """Return a finding on batches that are run in train mode and never trained on."""
        advice = "Look at what stands between the forward pass and loss.backward(): a condition that skips batches, a "
        advice += "return or continue, an exception that is caught."
        never = not loop.backwards and not loop.steps and not loop.moved
        # Without an optimizer the script may only evaluate, and forget model.eval() and torch.no_grad().
        if never and view.context.optimizer and loop.unfollowed >= self.passes:
            cause = f"{loop.unfollowed} batches were run in train mode with gradients on, and neither a backward nor a "
            return self._found(view, 1.0, f"{cause}step followed any of them", advice)
        share = loop.skipped_batches / max(1, loop.skipped_batches + loop.trained_batches)
        if loop.skipped_batches < self.passes or share <= self.share:
            return None
        batches = loop.skipped_batches + loop.trained_batches
        cause = f"{loop.skipped_batches} of {batches} training batches were run, and neither a backward nor a step"
        return self._found(view, share, f"{cause} followed", advice, severity=Severity.WARNING)

    def _another_model(self, view: RunView, loop: LoopInfo) -> Finding:
        cause = f"{loop.unwatched_losses} losses were computed without a forward pass of the watched model, and"
        cause += f" {loop.backwards} with one: another model is trained"
        return self._found(view, 1.0, cause, "Make the model once, before the loop, and watch the one that is trained.")

    def _never_stepped(self, view: RunView, loop: LoopInfo, stepper: str) -> Finding:
        cause = f"of {loop.backwards} backward passes none was followed by a step of {stepper}"
        if loop.moved:
            # The training may be all right: rules about rates and updates only see nothing of it.
            return self._found(
                view,
                1.0,
                f"{cause}, although the weights change: another optimizer steps",
                "Pass the optimizer that the loop uses to watch().",
                severity=Severity.WARNING,
            )
        return self._found(view, 1.0, f"{cause}, and the weights do not change", f"Call optimizer.step(). {_ORDER}")

    def _empty(self, view: RunView, loop: LoopInfo, share: float, zero: int) -> Finding:
        found = f"{share:.0%} of {loop.steps} optimizer steps found no gradient"
        if zero > loop.empty_steps:
            cause = f"{share:.0%} of {loop.steps} optimizer steps found gradients that are exactly 0"
            advice = (
                "Call optimizer.zero_grad() before loss.backward(), not after it. Otherwise the loss does not depend "
            )
            advice += "on the weights: check what stands between model and loss."
        elif not loop.forwards:
            cause = f"{found}, and the watched model, whose parameters the optimizer holds, was never run"
            advice = "Run the very model that is watched and whose parameters the optimizer got, not a copy of it."
        elif loop.unreached_steps > self.share * loop.steps:
            cause = f"{found}: no backward reached the model's outputs before them"
            advice = (
                "Call loss.backward() before optimizer.step(), on the loss itself: .detach(), .item(), .data, a new "
            )
            advice += "tensor made of its value, or torch.no_grad() cut it off from the model."
        else:
            cause = f"{found}, although a backward reached the model: the gradients were cleared in between"
            advice = "Call optimizer.zero_grad() before loss.backward(), not between backward and step."
        return self._found(view, share, cause, advice)

    def _found(
        self, view: RunView, value: float, cause: str, advice: str, severity: Severity = Severity.SEVERE
    ) -> Finding:
        loss = view.scalar("loss")
        return self.found(
            value=value,
            threshold=self.share,
            unit="of the steps",
            severity=severity,
            steps=(1, max(1, view.done())),
            subject="optimizer",
            cause=cause,
            advice=advice,
            confidence=0.98,
            evidence=Series.of("loss", loss.steps, loss.values),
        )
