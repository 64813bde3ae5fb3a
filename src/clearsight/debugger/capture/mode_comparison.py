"""ModeComparison: a few times a run, the loss of the same batch in train mode and in evaluation mode."""

from __future__ import annotations

from torch import Tensor

from clearsight.debugger.capture.forward_replay import ForwardPass, traceless
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.predictions import BatchPredictions, same_batch_losses

_ROWS = 32  # images of the batch that are compared: enough for the statistics of a BatchNorm, cheap on any model

# Comparisons a run: one per _STEPS steps, within these bounds. Each costs a forward pass of _ROWS images; the rule that
# reads them (BatchNormDrift) decides with three.
_FEWEST, _MOST, _STEPS = 3, 10, 50


class ModeComparison:
    """Measures how far a BatchNorm in train mode and one in evaluation mode disagree.

    planned: steps of the run; with 0, not known, the comparisons become ever rarer.
    """

    def __init__(self, planned: int) -> None:
        self._planned, self._last_step, self._count = planned, 0, 0

    def due(self, step: int) -> bool:
        """Return True if a comparison is made at this step."""
        total = max(_FEWEST, min(_MOST, self._planned // _STEPS)) if self._planned else _MOST
        # Not planned: as long again as the run has lasted, so that the gap doubles each time.
        gap = self._planned // total if self._planned else self._last_step
        return self._count < total and (not self._last_step or abs(step - self._last_step) >= max(1, gap))

    def losses(
        self, step: int, model: InspectedModel, forward: ForwardPass, batch: BatchPredictions
    ) -> dict[str, Tensor | float]:
        """Return train_mode_loss and eval_mode_loss; {} where the model cannot be compared. Changes nothing in it."""
        if model.compiled or not model.normed:
            return {}
        self._last_step, self._count = step, self._count + 1
        rows = min(_ROWS, len(batch.labels))
        with traceless(model.model, training=False):
            output = forward.recompute(model.model, rows)
        return same_batch_losses(batch, output, rows)
