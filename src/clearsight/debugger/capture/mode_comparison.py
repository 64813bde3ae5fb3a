"""Comparison: now and then, the same batch through the same weights in train and in evaluation mode."""

from __future__ import annotations

from torch import Tensor

from clearsight.debugger.capture.forward_replay import ForwardPass, traceless
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.predictions import BatchPredictions, same_batch_losses

_ROWS = 32  # images of the batch that are compared
_LEAST, _MOST, _STEPS = 3, 10, 50  # comparisons a run: one per 50 steps, within these bounds


class ModeComparison:
    """Where a BatchNorm in train mode and one in evaluation mode disagree, the two losses do.

    planned: steps of the run; 0, not known, makes the comparisons ever rarer.
    """

    def __init__(self, planned: int) -> None:
        self._planned, self._last, self._made = planned, 0, 0

    def due(self, step: int) -> bool:
        """Whether one is made at this step."""
        total = max(_LEAST, min(_MOST, self._planned // _STEPS)) if self._planned else _MOST
        gap = self._planned // total if self._planned else self._last
        return self._made < total and (not self._last or abs(step - self._last) >= max(1, gap))

    def losses(
        self, step: int, watched: InspectedModel, made: ForwardPass, answers: BatchPredictions
    ) -> dict[str, Tensor | float]:
        """train_mode_loss and eval_mode_loss; {} where the model cannot be compared. The model is left as it was."""
        if watched.compiled or not watched.normed:
            return {}
        self._last, self._made = step, self._made + 1
        rows = min(_ROWS, len(answers.labels))
        with traceless(watched.model, training=False):
            output = made.again(watched.model, rows)
        return same_batch_losses(answers, output, rows)
