"""Where the first NaN or infinity of a step was born."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from clearsight.debugger.capture.forward_replay import ForwardPass, all_finite, first_nonfinite_layer
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.predictions import BatchPredictions
from clearsight.debugger.capture.transfer import Arrays

Birth = tuple[str, str]  # where (input | layer | loss | gradient) and the name of the layer or tensor


def birthplace(
    watched: InspectedModel,
    passes: Sequence[ForwardPass],
    answers: BatchPredictions | None,
    loss: str,
    loss_finite: bool | None,
) -> Birth:
    """Computes the passes again, on a CPU, before anything was updated. loss: its name; loss_finite: where known."""
    if any(not all_finite(list(made.tensors())) for made in passes):
        return "input", "input"
    if watched.replayable and (layer := first_nonfinite_layer(watched.model, passes)):
        return "layer", layer
    if not watched.replayable and answers is not None and not all_finite(answers.logits):
        return "layer", "output"
    if loss_finite is None and answers is not None:
        loss_finite = all_finite(answers.loss())
    if loss_finite is False:
        return "loss", loss
    bad = [name for name, p in watched.trainable if p.grad is not None and not all_finite(p.grad)]
    return "gradient", f"gradient/{bad[-1]}" if bad else "gradient"


def on_device(passes: Sequence[ForwardPass], answers: BatchPredictions | None, norms: Tensor) -> list[Tensor]:
    """What `birthplace_seen` needs, computed without waiting: a sum of the inputs, one of the logits, and the norms."""
    groups = [[t for made in passes for t in made.tensors()], [] if answers is None else [answers.logits]]
    with torch.no_grad():
        sums = [sum((t.sum(dtype=torch.float32) for t in group), norms.new_zeros(())) for group in groups]
    return [*sums, norms]


def birthplace_seen(names: Sequence[str], arrays: Arrays) -> Birth | None:
    """The answer from what `on_device` gave, None where all is finite. names: of the gradients with these norms."""
    inputs, outputs, norms = arrays
    bad = [name for name, norm in zip(names, norms.tolist(), strict=True) if not math.isfinite(norm)]
    if not math.isfinite(inputs):
        return "input", "input"
    if not math.isfinite(outputs):
        return "layer", "output"
    return ("gradient", f"gradient/{bad[-1]}") if bad else None
