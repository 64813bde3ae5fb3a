"""EvalModeMissing: the model is validated in train mode."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView


class EvalModeMissing(Rule):
    """Found when evaluation passes ran in train mode: `model.eval()` is missing.

    Dropout then removes features at random, and BatchNorm normalises by the batch and learns from validation images; a
    model without such layers is clear. A forward pass counts as evaluation when gradients are off, or when no backward
    follows any batch of its DataLoader; passes over training images that measure BatchNorm's statistics do not count.
    Found too where two passes of one batch in evaluation mode differ by more than `difference`: something random does
    not listen to the mode. SageMaker has no such rule.
    """

    explains = ("Overfit", "BatchNormDrift", "NormalisationMismatch", "LossOscillating")

    share: float = setting(0.2, "share of the evaluation passes in train mode", above=0, below=1)
    passes: int = setting(2, "evaluation passes that are needed", low=1)
    difference: float = setting(0.02, "difference of two passes", above=0, unit="of the largest output")

    def needs(self) -> Needs:
        return Needs(counted="evaluations", points=self.passes, mode="eval")

    def check(self, view: RunView) -> list[Finding]:
        loop = view.context.loop
        if finding := self._random(view):
            return [finding]
        if loop.eval_passes < self.passes:
            return [self.not_enough_data(have=loop.eval_passes, of="evaluation passes of a watched loop")]
        share = loop.eval_passes_in_train / loop.eval_passes
        if share <= self.share or not loop.mode_layers:
            return [self.clear(value=share, threshold=self.share, unit="of the evaluation passes")]
        finding = self.found(
            value=share,
            threshold=self.share,
            unit="of the evaluation passes",
            steps=(1, max(1, view.done())),
            subject="mode of the model",
            cause=f"{loop.eval_passes_in_train} of {loop.eval_passes} evaluation passes ran in train mode: "
            f"BatchNorm and Dropout (here {loop.mode_layers} layers) work differently there",
            advice="Call model.eval() before the validation, and model.train() after it.",
            confidence=0.97,
            evidence=Series.of("share of evaluation passes in train mode", [view.done()], [share]),
        )
        return [finding]

    def _random(self, view: RunView) -> Finding | None:
        """Return a finding where evaluation mode gives other outputs for the same images."""
        measured = view.scalar("eval_mode_difference")
        known = measured.values[np.isfinite(measured.values)]
        if not known.size or known.max() <= self.difference:
            return None
        return self.found(
            value=float(known.max()),
            threshold=self.difference,
            unit="of the largest output",
            steps=(1, max(1, view.done())),
            subject="evaluation mode",
            cause=f"the same images give outputs that differ by {known.max():.0%} of the largest in two passes in "
            "evaluation mode: something random is active there",
            advice="Pass training=self.training to functional.dropout, or use nn.Dropout. Register every layer as an "
            "attribute or in nn.ModuleList, so that model.eval() reaches it.",
            confidence=0.95,
            evidence=Series.of("difference of two passes", measured.steps, measured.values),
        )
