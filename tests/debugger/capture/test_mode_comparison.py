"""ModeComparison: a few times a run, and only where there is something to compare."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from clearsight.debugger.capture.forward_replay import ForwardPass
from clearsight.debugger.capture.mode_comparison import ModeComparison
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.predictions import BatchPredictions
from tests.debugger.networks import batches, network


def compared(planned: int, every: int, steps: int) -> list[int]:
    comparison, inspected, (inputs, labels) = ModeComparison(planned), InspectedModel.of(network()), next(batches(1))
    forward, batch = ForwardPass.of((inputs,), {}), BatchPredictions.of(network()(inputs).detach(), labels)
    assert batch is not None
    due = [step for step in range(1, steps + 1) if step == 1 or step % every == 0]
    return [s for s in due if comparison.due(s) and comparison.losses(s, inspected, forward, batch)]


@pytest.mark.parametrize(("planned", "every", "least"), [(40, 5, 3), (150, 5, 3), (1000, 20, 10), (100_000, 2000, 10)])
def test_a_few_times_a_run_over_all_of_it(planned: int, every: int, least: int) -> None:
    steps = compared(planned, every, planned)
    assert least <= len(steps) <= 10
    assert steps[0] == 1
    assert steps[-1] > 0.6 * planned


def test_without_a_plan_it_becomes_ever_rarer() -> None:
    steps = compared(0, 10, 5000)
    assert len(steps) == 10
    gaps = [b - a for a, b in pairwise(steps)]
    assert gaps == sorted(gaps)


def test_there_is_nothing_to_compare_without_a_norm_in_train_mode() -> None:
    model, (inputs, labels) = network(), next(batches(1))
    model[1].eval()
    batch = BatchPredictions.of(model(inputs).detach(), labels)
    assert batch is not None
    assert ModeComparison(10).losses(1, InspectedModel.of(model), ForwardPass.of((inputs,), {}), batch) == {}
    compiled = torch.compile(network(), backend="eager")
    assert ModeComparison(10).losses(1, InspectedModel.of(compiled), ForwardPass.of((inputs,), {}), batch) == {}
