"""AveragingTooSlow: the weights that are evaluated have hardly left the initial ones, or never."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView

_EVALUATIONS = 3  # that must agree
_HARDLY = 0.3  # of the way: the network that is evaluated is more the initial one than the trained one
_SAME = 1e-6  # of the loss: rounding
_LEARNED = 0.01  # of the loss, by which training must have changed


class AveragingTooSlow(Rule):
    """Found when a loop evaluates a moving average of its weights that has gone less than `share` of their way.

    A decay of d averages over the last 1 / (1 - d) steps: 0.9999 needs far more than 10,000 of them, and before that
    the average is still near the initial weights (Tarvainen and Valpola 2017, "Mean teachers are better role models",
    section 3). Judged where the watched model itself is never evaluated although validation batches are drawn. A
    validation loss that is the same in all evaluations, while the training loss changes, is that of a copy that nothing
    updates. Found too where the average has BatchNorms whose statistics are those of new layers, because its
    parameters alone are averaged. SageMaker has no such rule.
    """

    severity = Severity.SEVERE
    explains = ("Overfit", "ValidationMismatch", "BatchNormDrift")

    share: float = setting(0.7, "share of the way that the average must have gone", above=0, below=1)
    points: int = setting(12, "training steps that are needed", low=1)

    def needs(self) -> Needs:
        return Needs(points=self.points)

    def check(self, view: RunView) -> list[Finding]:
        gone, steps = view.context.loop.averaged, view.done()
        if finding := self._stale(view):
            return [finding]
        if gone is None or steps < self.points:
            cause = "no averaged weights are evaluated in place of the watched model" if gone is None else ""
            return [self.not_enough_data(have=0 if gone is None else steps, cause=cause)]
        loop = view.context.loop
        if loop.averaged_unset and not loop.unset_norms:
            return [self._without_statistics(view, loop.averaged_unset)]
        if gone >= self.share:
            return [self.clear(value=gone, threshold=self.share, unit="of the way")]
        return [
            self.found(
                value=gone,
                threshold=self.share,
                unit="of the way",
                steps=(1, steps),
                subject="averaged weights",
                severity=Severity.SEVERE if gone < _HARDLY else Severity.WARNING,
                cause=f"the averaged weights that are evaluated have gone {gone:.1%} of the way of the trained weights "
                f"in {steps} steps: their decay is too near to 1 for a run of this length, or they are updated too "
                "seldom",
                advice=f"Update them after each step, with a decay of {max(0.0, 1 - 10 / steps):.3g} or less, or one "
                "that rises with the steps.",
                confidence=0.95,
                evidence=Series.of("way of the averaged weights", [steps], [gone]),
            )
        ]

    def _without_statistics(self, view: RunView, unset: int) -> Finding:
        """Return the finding on an average of the parameters alone."""
        return self.found(
            value=float(unset),
            threshold=0.0,
            unit="BatchNorms",
            steps=(1, view.done()),
            subject="averaged buffers",
            cause=f"{unset} BatchNorms of the averaged model that is evaluated have the statistics of new layers, mean "
            "0 and variance 1: its parameters are averaged, and its buffers are not",
            advice="Average or copy the buffers too: AveragedModel(model, use_buffers=True), or a loop over "
            "model.buffers().",
            confidence=0.95,
        )

    def _stale(self, view: RunView) -> Finding | None:
        """Return a finding where training changes the loss of training alone, and evaluations repeat a number."""
        table = view.evaluations()
        known = np.isfinite(table.train_loss) & np.isfinite(table.valid_loss)
        train, valid = table.train_loss[known], table.valid_loss[known]
        if len(valid) < _EVALUATIONS or view.context.loop.eval_passes:
            return None
        size = max(float(np.abs(valid).max()), 1e-12)
        if float(np.ptp(valid)) > _SAME * size or float(np.ptp(train)) < _LEARNED * float(np.abs(train).max()):
            return None
        return self.found(
            value=0.0,
            threshold=self.share,
            unit="of the way",
            steps=(1, view.done()),
            subject="evaluated weights",
            cause=f"the validation loss is {valid[0]:.4g} in all {len(valid)} evaluations, while the training loss "
            f"went from {train[0]:.3g} to {train[-1]:.3g}: another model than the trained one is evaluated",
            advice="Evaluate the model that is trained, or update the copy after each step.",
            confidence=0.95,
            evidence=Series.of("validation loss", table.steps[known], valid),
        )
