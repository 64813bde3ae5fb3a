"""TrainModeMissing: the model trains in evaluation mode after a validation."""

from __future__ import annotations

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView


class TrainModeMissing(Rule):
    """Found when training began in train mode and goes on in evaluation mode: `model.train()` is missing.

    In evaluation mode Dropout does nothing and BatchNorm's statistics stay as they are; a model without such layers is
    clear. A forward pass counts as training when a backward follows it, whatever the mode says. A model that is in
    evaluation mode from the first step on is so on purpose, as one fine-tunes with frozen BatchNorm; that is an
    information. It is none where BatchNorm's running statistics are those of a new layer, 0 and 1, to the end: frozen
    statistics must be those of pretrained weights. SageMaker has no such rule.
    """

    explains = (
        *("Overfit", "BatchNormDrift", "NormalisationMismatch", "NotLearning", "LossNotDecreasing"),
        *("UnderfitCapacity", "LearningRateTooHigh", "ExplodingTensor", "DeadRelu"),
    )

    share: float = setting(0.2, "share of the training passes in evaluation mode", above=0, below=1)
    passes: int = setting(4, "training passes that are needed", low=1)

    def needs(self) -> Needs:
        return Needs(points=self.passes)

    def check(self, view: RunView) -> list[Finding]:
        loop = view.context.loop
        if loop.train_passes < self.passes:
            return [self.not_enough_data(have=loop.train_passes, of="training passes of a watched loop")]
        if loop.unset_norms > loop.norms / 2:
            return [self._unset(view)]
        share = loop.train_passes_in_eval / loop.train_passes
        if share <= self.share or not loop.mode_layers:
            return [self.clear(value=share, threshold=self.share, unit="of the training passes")]
        begins = "it began in train mode" if loop.train_seen_first else "it was never in train mode"
        loss = view.scalar("loss")
        finding = self.found(
            value=share,
            threshold=self.share,
            unit="of the training passes",
            severity=Severity.WARNING if loop.train_seen_first else Severity.INFO,
            steps=(1, max(1, view.done())),
            subject="mode of the model",
            cause=f"{loop.train_passes_in_eval} of {loop.train_passes} training passes ran in evaluation mode "
            f"({begins}): "
            f"BatchNorm and Dropout (here {loop.mode_layers} layers) work differently there",
            advice="Call model.train() at the start of every epoch, before the loop over the training batches.",
            confidence=0.97,
            evidence=Series.of("loss", loss.steps, loss.values),
        )
        return [finding]

    def _unset(self, view: RunView) -> Finding:
        loop, loss = view.context.loop, view.scalar("loss")
        return self.found(
            value=loop.unset_norms / loop.norms,
            threshold=0.5,
            unit="of the BatchNorms",
            steps=(1, max(1, view.done())),
            subject="BatchNorm",
            cause=f"{loop.unset_norms} of {loop.norms} BatchNorms stayed in evaluation mode in all {loop.train_passes} "
            "training passes, with the running statistics 0 and 1 of a new layer: they normalise nothing",
            advice="Call model.train() before the training. Keep BatchNorm in evaluation mode only with pretrained "
            "weights, whose statistics are loaded with them.",
            confidence=0.95,
            evidence=Series.of("loss", loss.steps, loss.values),
        )
