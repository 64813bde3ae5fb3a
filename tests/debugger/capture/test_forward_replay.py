"""Forward replay: a forward pass is computed again and leaves no trace."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clearsight.debugger.capture.forward_replay import ForwardPass, first_nonfinite_layer, tensors_in, traceless
from tests.debugger.networks import batches, network, same_state


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
