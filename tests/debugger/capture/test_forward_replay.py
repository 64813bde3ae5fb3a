"""Forward replay: a forward pass is computed again and leaves no trace.

ModeComparison: a few times a run, and only where there is something to compare.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from clearsight.debugger.capture.forward_replay import (
    ForwardPass,
    ModeComparison,
    first_nonfinite_layer,
    tensors_in,
    traceless,
)
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.predictions import BatchPredictions
from tests.debugger.networks import CLASSES, batches, network, same_state


def test_afterwards_buffers_random_state_and_modes_are_what_they_were() -> None:
    model, (inputs, _) = network(), next(batches(1))
    model[1].eval()
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    buffers = {name: (id(b), b._version, b.clone()) for name, b in model.named_buffers()}
    for training in (None, True, False):
        with traceless(model, training=training):
            ForwardPass.of((inputs,), {}).recompute(model)
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(state, torch.get_rng_state())
    for name, buffer in model.named_buffers():
        identity, version, value = buffers[name]
        assert (id(buffer), buffer._version) == (identity, version)
        assert torch.equal(buffer, value)


def test_between_forward_and_backward_it_does_not_disturb_the_graph() -> None:
    unwatched, model, (inputs, labels) = network(), network(), next(batches(1))
    for each in (unwatched, model):
        torch.manual_seed(0)
        loss = nn.functional.cross_entropy(each(inputs), labels)
        if each is model:
            with traceless(model):
                ForwardPass.of((inputs,), {}).recompute(model)
        loss.backward()
    assert same_state(unwatched, model)
    pairs = zip(unwatched.parameters(), model.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs)  # type: ignore[arg-type]


def test_everything_is_put_back_after_an_exception() -> None:
    model = network()
    before = model[1].running_mean
    try:
        with traceless(model, training=False):
            raise ValueError
    except ValueError:
        assert model.training
    assert model[1].running_mean is before


def test_the_pass_runs_under_the_autocast_that_it_ran_under() -> None:
    model, inputs = nn.Linear(4, 4), torch.ones(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        forward = ForwardPass.of((inputs,), {})
    assert forward.recompute(model).dtype is torch.bfloat16
    assert ForwardPass.of((inputs,), {}).recompute(model).dtype is torch.float32


def test_rows_are_taken_of_every_argument() -> None:
    def model(x: Tensor, *, other: dict[str, Tensor], flag: bool) -> tuple[int, int, bool]:
        return len(x), len(other["mask"]), flag

    forward = ForwardPass.of((torch.ones(8, 2),), {"other": {"mask": torch.ones(8)}, "flag": True})
    assert forward.recompute(model, rows=3) == (3, 3, True)  # type: ignore[arg-type]


def test_the_first_layer_that_makes_infinity_is_named() -> None:
    model, (inputs, _) = network(), next(batches(1))
    assert first_nonfinite_layer(model, [ForwardPass.of((inputs,), {})]) is None
    model[1].weight.data[0] = torch.inf
    model[6].bias.data[0] = torch.nan
    assert first_nonfinite_layer(model, [ForwardPass.of((inputs,), {})]) == "1"


def test_tensors_are_found_in_tuples_lists_and_mappings() -> None:
    a, b, c = torch.ones(1), torch.ones(2), torch.ones(3)
    assert [len(t) for t in tensors_in((a, [b, {"c": c, "n": 1}], torch.ones(4, dtype=torch.long)))] == [1, 2, 3]


# Comparison of the modes


def compared(planned: int, steps: int) -> list[int]:
    comparison, inspected, (inputs, labels) = ModeComparison(planned), InspectedModel.of(network()), next(batches(1))
    forward, batch = ForwardPass.of((inputs,), {}), BatchPredictions.of(network()(inputs).detach(), labels)
    assert batch is not None
    numbers = range(1, steps + 1)
    return [s for s in numbers if comparison.due(s) and comparison.losses(s, inspected, forward, batch)]


@pytest.mark.parametrize(("planned", "least"), [(40, 3), (150, 3), (1000, 10), (100_000, 10)])
def test_a_few_times_a_run_over_all_of_it(planned: int, least: int) -> None:
    steps = compared(planned, planned)
    assert least <= len(steps) <= least + 1
    assert steps[0] == 1
    assert steps[-1] > 0.6 * planned


def test_without_a_plan_it_becomes_ever_rarer() -> None:
    steps = compared(0, 6000)
    assert len(steps) == 16
    assert len([step for step in steps if 50 < step <= 100]) == 2  # enough for a verdict on a short run
    gaps = [b - a for a, b in pairwise(steps)]
    assert gaps == sorted(gaps)


def test_without_a_norm_in_train_mode_only_evaluation_is_compared_with_itself_and_once() -> None:
    model, (inputs, labels) = network(), next(batches(1))
    model[1].eval()
    batch, inspected = BatchPredictions.of(model(inputs).detach(), labels), InspectedModel.of(model)
    assert batch is not None
    comparison, forward = ModeComparison(10), ForwardPass.of((inputs,), {})
    assert comparison.losses(1, inspected, forward, batch) == {"eval_mode_difference": 0}
    assert comparison.losses(5, inspected, forward, batch) == {}
    compiled = torch.compile(network(), backend="eager")
    assert ModeComparison(10).losses(1, InspectedModel.of(compiled), ForwardPass.of((inputs,), {}), batch) == {}


def test_losses_of_two_modes_are_of_the_same_rows() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.inner(x)}

    model, (inputs, labels) = Named(), next(batches(1, size=40))
    inspected, forward, logits = InspectedModel.of(model), ForwardPass.of((inputs,), {}), torch.randn(40, CLASSES)
    batch, other = BatchPredictions.of(logits, labels), BatchPredictions.of(torch.zeros(40, 7), labels)
    assert batch is not None
    assert other is not None
    losses = ModeComparison(10).losses(1, inspected, forward, batch)
    assert losses["train_mode_loss"] == functional.cross_entropy(logits[:32], labels[:32])
    assert losses["eval_mode_loss"] == functional.cross_entropy(model.eval()(inputs[:32])["logits"], labels[:32])
    model.train()
    assert "eval_mode_loss" not in ModeComparison(10).losses(1, inspected, forward, other)
