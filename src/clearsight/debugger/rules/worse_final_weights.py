"""WorseFinalWeights: the training ends with the weights of a worse epoch than its best, or of none."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.analysis.epoch_scores import BetterEpoch, better_epoch
from clearsight.debugger.analysis.weight_writes import may_start_be_best

_ADVICE = (
    "Check what chooses the epoch to keep: whether it looks for the lowest loss or the highest accuracy, the value "
    "that it begins with, and the least improvement that it asks for. Copy the weights when an epoch is the best one."
)


class WorseFinalWeights(Rule):
    """Found when the weights at the end of a loop are those of an earlier epoch that validation shows to be much worse.

    A hook compares a sample of the weights at its end with those before the training and at every evaluation.
    Weights from before the training are named unless they are pretrained ones that an evaluation has seen, or the
    loop began with them more than once, as for the folds of a cross-validation. Those of an epoch are worse where
    another one has an accuracy that is higher by `min_accuracy` and by three standard errors (of the same images,
    McNemar 1947), a lower loss, and no lower mean recall, F1 or area under the ROC curve: a loop may keep its best
    epoch by any of these. Weights of the last step, averages and whatever else was never evaluated are clear.
    Nothing can be said of weights that are loaded after the hook was closed. SageMaker has no such rule.
    """

    severity = Severity.WARNING

    min_accuracy: float = setting(0.05, "accuracy that is given away", low=0, below=1)

    def needs(self) -> Needs:
        return Needs(counted="evaluations", points=2)

    def check(self, view: RunView) -> list[Finding]:
        loop, table = view.context.loop, view.evaluations()
        count = int(np.count_nonzero(np.isfinite(table.valid_loss)))
        if not view.ended or not loop.writes.checked:
            cause = "the weights of the end are not known"
            return [self.not_enough_data(have=0, of="weights of the end", want=1, cause=cause)]
        if count < self.needs().points:
            return [self.not_enough_data(have=count)]
        final = loop.writes.final
        if final is None:
            return [self.clear(cause="the training ends with the weights of its last step, or with new ones")]
        if final == 0:
            if may_start_be_best(view.context):
                return [self.clear(cause="the pretrained weights are kept, which were evaluated")]
            if loop.writes.begun_again or any(to == 0 for _, to in loop.writes.returns):
                return [self.clear(cause="the loop went back to its first weights before, as for several trainings")]
            return [self._untrained(view)]
        since = max((step for step in loop.writes.restarts if step < final), default=-1)
        better = better_epoch(view, final, since=since, min_accuracy=self.min_accuracy)
        if better is None:
            return [self.clear(threshold=self.min_accuracy, cause="no other epoch is better in every respect")]
        return [self._worse(view, better)]

    def _untrained(self, view: RunView) -> Finding:
        steps = view.done()
        return self.found(
            value=steps,
            threshold=0,
            unit="steps",
            severity=Severity.SEVERE,
            steps=(1, max(1, steps)),
            subject="weights of the end",
            cause=f"the weights at the end are those from before the training: of its {steps} steps nothing is kept",
            advice=_ADVICE,
            confidence=0.98,
            evidence=_evidence(view),
        )

    def _worse(self, view: RunView, better: BetterEpoch) -> Finding:
        table = better.table
        epoch = int(table.epochs[better.worse])
        return self.found(
            value=better.gap,
            threshold=self.min_accuracy,
            unit="of the accuracy",
            steps=(int(table.steps[better.worse]), max(1, view.done())),
            epoch=epoch,
            subject="weights of the end",
            cause=f"the weights at the end are those of epoch {epoch}, which is not the best one: {better.words()}",
            advice=_ADVICE,
            confidence=0.95,
            evidence=_evidence(view),
        )


def _evidence(view: RunView) -> tuple[Series, ...]:
    table = view.evaluations()
    series = (("validation loss", table.valid_loss), ("validation accuracy", table.valid_accuracy))
    return tuple(Series.of(name, table.steps, values) for name, values in series if np.isfinite(values).all())
