"""NonFiniteTracer: the birthplace of NaN, by computing again, or by sums that a device sends without waiting."""

from __future__ import annotations

import pytest
import torch

from clearsight.debugger.capture.forward_replay import ForwardPass
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.nonfinite import StepEvidence, birthplace, birthplace_of_sums, device_sums
from clearsight.debugger.capture.predictions import BatchPredictions
from tests.debugger.networks import batches, network

NAMES = ["0.weight", "6.weight"]


def test_the_first_cause_wins() -> None:
    model, (inputs, labels) = network(), next(batches(1))
    inspected, predictions = InspectedModel.of(model), BatchPredictions.of(model(inputs).detach(), labels)
    step = StepEvidence([ForwardPass.of((inputs,), {})], predictions, "loss_1")
    assert birthplace(inspected, step, False) == ("loss", "loss_1")
    assert birthplace(inspected, step, None) == ("gradient", "gradient")
    model[6].weight.data[0, 0] = torch.nan
    assert birthplace(inspected, step, False) == ("layer", "6")
    inputs[0, 0, 0, 0] = torch.inf
    assert birthplace(inspected, step, False) == ("input", "input")


@pytest.mark.parametrize(
    ("inputs", "logits", "norms", "expected"),
    [
        (1.0, 1.0, [1.0, 2.0], None),
        (torch.nan, torch.nan, [torch.nan, torch.nan], ("input", "input")),
        (1.0, torch.inf, [torch.nan, torch.nan], ("layer", "output")),
        (1.0, 1.0, [torch.nan, torch.nan], ("gradient", "gradient/6.weight")),
    ],
)
def test_sums_and_norms_show_the_birthplace_too(
    inputs: float, logits: float, norms: list[float], expected: tuple[str, str] | None
) -> None:
    predictions = BatchPredictions.of(torch.full((2, 3), logits), torch.zeros(2, dtype=torch.long))
    step = StepEvidence([ForwardPass.of((torch.full((2, 2), inputs),), {})], predictions)
    sums = device_sums(step, torch.tensor(norms))
    assert birthplace_of_sums(NAMES, [tensor.numpy() for tensor in sums]) == expected
