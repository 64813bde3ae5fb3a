"""Where NaN was born, traced afterwards, and told from a device without waiting for it."""

from __future__ import annotations

import pytest
import torch

from clearsight.debugger.capture.forward_replay import ForwardPass
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.nonfinite import birthplace, birthplace_seen, on_device
from clearsight.debugger.capture.predictions import BatchPredictions
from tests.debugger.networks import batches, network

NAMES = ["0.weight", "6.weight"]


def test_the_first_cause_wins() -> None:
    model, (inputs, labels) = network(), next(batches(1))
    watched, answers = InspectedModel.of(model), BatchPredictions.of(model(inputs).detach(), labels)
    assert birthplace(watched, [ForwardPass.of((inputs,), {})], answers, "loss", False) == ("loss", "loss")
    assert birthplace(watched, [ForwardPass.of((inputs,), {})], answers, "loss", None) == ("gradient", "gradient")
    model[6].weight.data[0, 0] = torch.nan
    assert birthplace(watched, [ForwardPass.of((inputs,), {})], answers, "loss", False) == ("layer", "6")
    inputs[0, 0, 0, 0] = torch.inf
    assert birthplace(watched, [ForwardPass.of((inputs,), {})], answers, "loss", False) == ("input", "input")


@pytest.mark.parametrize(
    ("inputs", "logits", "norms", "expected"),
    [
        (1.0, 1.0, [1.0, 2.0], None),
        (torch.nan, torch.nan, [torch.nan, torch.nan], ("input", "input")),
        (1.0, torch.inf, [torch.nan, torch.nan], ("layer", "output")),
        (1.0, 1.0, [torch.nan, torch.nan], ("gradient", "gradient/6.weight")),
    ],
)
def test_sums_and_norms_tell_it_too(
    inputs: float, logits: float, norms: list[float], expected: tuple[str, str] | None
) -> None:
    answers = BatchPredictions.of(torch.full((2, 3), logits), torch.zeros(2, dtype=torch.long))
    told = on_device([ForwardPass.of((torch.full((2, 2), inputs),), {})], answers, torch.tensor(norms))
    assert birthplace_seen(NAMES, [tensor.numpy() for tensor in told]) == expected
