"""NonFiniteTracer: finds where the first NaN or infinity of a run was born."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from clearsight.core.tensors import Event, Moment
from clearsight.debugger.capture.forward_replay import ForwardPass, ReplayFlag, all_finite, first_nonfinite_layer
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.predictions import BatchPredictions
from clearsight.debugger.capture.transfer import Arrays, RecordSender

Birthplace = tuple[str, str]  # input | layer | loss | gradient, and the name of the layer or tensor


@dataclass(eq=False)
class StepEvidence:
    """Evidence of the step under way, for a trace.

    forwards: its forward passes, at most the last few.  predictions: of the last pass that reported some.
    loss_name: of the loss that was reported last.
    """

    forwards: list[ForwardPass] = field(default_factory=list)
    predictions: BatchPredictions | None = None
    loss_name: str = "loss"


class NonFiniteTracer:
    """Traces the first NaN or infinity of a model once, and sends an event that names its birthplace.

    On a CPU the forward passes of the step are computed again. On CUDA nothing waits for the device, so the news
    arrives some steps late, when the weights are spoilt already: the event then only tells whether the inputs, the
    model's output or a gradient came first.
    """

    def __init__(self, sender: RecordSender, replay: ReplayFlag) -> None:
        self._sender, self._replay = sender, replay
        self.traced = False

    def check_gradients(
        self, at: Moment, model: InspectedModel, step: StepEvidence, norms: Tensor, parameters: Sequence[Tensor]
    ) -> None:
        """Trace where a gradient is not finite. norms: (P,) L2 of the gradients of `parameters`."""
        if self.traced:
            return
        if norms.device.type == "cpu":
            if not math.isfinite(torch.linalg.vector_norm(norms).item()):
                self._trace(at, model, step, loss_finite=None)
            return
        # Names now: when the sums arrive, another model may be attached.
        names = [model.name(parameter) for parameter in parameters]

        def receive(arrays: Arrays) -> None:
            if not self.traced and (found := birthplace_of_sums(names, arrays)):
                self._report(at, found)

        self._sender.send(receive, device_sums(step, norms))

    def check_loss(self, at: Moment, model: InspectedModel, step: StepEvidence, loss: Tensor) -> None:
        """Trace where a loss on a CPU is not finite, before its backward."""
        if not self.traced and loss.device.type == "cpu" and not all_finite(loss):
            self._trace(at, model, step, loss_finite=False)

    def _trace(self, at: Moment, model: InspectedModel, step: StepEvidence, *, loss_finite: bool | None) -> None:
        with self._replay.raised():
            self._report(at, birthplace(model, step, loss_finite))

    def _report(self, at: Moment, found: Birthplace) -> None:
        self.traced, (stage, subject) = True, found
        # At once: the event holds no tensor, and whoever waits for it should not wait longer.
        self._sender.emit(Event(at, "nonfinite", subject, {"where": stage}))


def birthplace(model: InspectedModel, step: StepEvidence, loss_finite: bool | None) -> Birthplace:
    """Return the birthplace by computing the forward passes again, on a CPU, before anything was updated.

    loss_finite: None where it is not known.
    """
    predictions = step.predictions
    # In the order of computing: the first that is not finite spoilt what came after it.
    if not all(all_finite([*forward.tensors()]) for forward in step.forwards):
        return "input", "input"
    if model.replayable and (layer := first_nonfinite_layer(model.model, step.forwards)):
        return "layer", layer
    if not model.replayable and predictions is not None and not all_finite(predictions.logits):
        return "layer", "output"
    if loss_finite is None:
        loss_finite = predictions is None or all_finite(predictions.loss())
    if not loss_finite:
        return "loss", step.loss_name
    bad = [name for name, p in model.trainable if p.grad is not None and not all_finite(p.grad)]
    # Backward runs from the last layer to the first, so the last bad gradient of the model was the first in time.
    return "gradient", f"gradient/{bad[-1]}" if bad else "gradient"


def device_sums(step: StepEvidence, norms: Tensor) -> list[Tensor]:
    """Return what `birthplace_of_sums` needs, without waiting: a sum of the inputs, one of the logits, and `norms`."""
    inputs = [tensor for forward in step.forwards for tensor in forward.tensors()]
    outputs = [] if step.predictions is None else [step.predictions.logits]
    # A sum is not finite if an element is not, so that one number crosses to the host instead of a tensor.
    with torch.no_grad():
        sums = [sum((t.sum(dtype=torch.float32) for t in ts), norms.new_zeros(())) for ts in (inputs, outputs)]
    return [*sums, norms]


def birthplace_of_sums(names: Sequence[str], arrays: Arrays) -> Birthplace | None:
    """Return the birthplace by the sums of `device_sums`; None where all is finite. names: of the gradients."""
    inputs, outputs, norms = arrays
    if not math.isfinite(inputs):
        return "input", "input"
    if not math.isfinite(outputs):
        return "layer", "output"
    bad = [name for name, norm in zip(names, norms.tolist(), strict=True) if not math.isfinite(norm)]
    return ("gradient", f"gradient/{bad[-1]}") if bad else None
