"""Probe: changes nothing in the training, and leaves nothing behind on the model."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from clearsight.core.guard import Guard
from clearsight.core.tensors import SavedRecord, Snapshot
from clearsight.debugger.capture.probe import Probe
from tests.debugger.capture.probing import plan_of, probe_of, train
from tests.debugger.networks import adamw, batches, hooks_on, network, same_state, sgd


@pytest.mark.parametrize("optimizing", [sgd, adamw])
@pytest.mark.parametrize("depth", ["light", "full"])
@pytest.mark.parametrize("more", [{}, {"micro": 2}, {"autocast": True}, {"clear": False}], ids=str)
def test_weights_are_equal_bit_for_bit(optimizing: Callable, depth: str, more: dict) -> None:
    unwatched, watched = network(), network()
    torch.manual_seed(5)
    train(unwatched, optimizing(unwatched), None, **more)
    rng = torch.get_rng_state()
    optimizer = optimizing(watched)
    torch.manual_seed(5)
    probe = probe_of([], depth, every=2, requests=["gradients", "activations"])
    with probe.attach(watched, optimizer):
        train(watched, optimizer, probe, **more)
    assert same_state(unwatched, watched)
    assert torch.equal(rng, torch.get_rng_state())


def test_weights_are_equal_in_other_memory_layouts_and_with_frozen_layers() -> None:
    states = []
    for probe in (None, probe_of([], every=1)):
        model = network().to(memory_format=torch.channels_last)
        model[0].requires_grad_(False)
        model[1].eval()
        optimizer = adamw(model)
        with probe.attach(model, optimizer) if probe else nullcontext():
            train(model, optimizer, probe)
        states.append(model)
    assert same_state(*states)


@pytest.mark.parametrize("spoiled", ["input", "weight"])
def test_a_trace_of_nan_changes_nothing(spoiled: str) -> None:
    def disturb(step: int, inputs: Tensor, model: nn.Module) -> None:
        if step == 3 and spoiled == "input":
            inputs[0] = torch.nan
        elif step == 3:
            model[6].weight.data[0] = torch.inf

    states = []
    for probe in (None, probe_of([], every=5)):
        model = network()
        optimizer = sgd(model)
        torch.manual_seed(2)
        with probe.attach(model, optimizer) if probe else nullcontext():
            train(model, optimizer, probe, steps=6, disturb=disturb)
        states.append(model)
    assert same_state(*states)


def test_modes_and_gradients_stay_what_they_are() -> None:
    model, inputs = network(), next(batches(1))
    model[1].eval()
    modes = [module.training for module in model.modules()]
    optimizer = sgd(model)
    probe = probe_of([], every=1)
    with probe.attach(model, optimizer):
        probe.begin_step(1, 1)
        logits = model(inputs[0])
        probe.record_predictions(logits.detach(), inputs[1])
        assert [module.training for module in model.modules()] == modes
        assert all(parameter.grad is None for parameter in model.parameters())


# Nothing stays


def test_between_due_steps_only_the_model_as_a_whole_and_its_last_layer_are_hooked() -> None:
    model = network()
    optimizer = sgd(model)
    probe = probe_of([], every=5)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=7)
        assert hooks_on(model) == 3  # one, the note that it takes keywords, and one on the last layer
        assert hooks_on(model[6]) == 1
    assert hooks_on(model, optimizer) == 0


def test_nothing_stays_after_an_exception_in_the_middle_of_a_step() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("mine")

    model = nn.Sequential(nn.Conv2d(3, 2, 1), Broken())
    optimizer = sgd(model)
    probe = probe_of([], every=1)

    def step() -> None:
        with probe.attach(model, optimizer):
            probe.begin_step(1, 1)
            model(torch.zeros(1, 3, 4, 4))

    with pytest.raises(RuntimeError, match="mine"):
        step()
    assert hooks_on(model, optimizer) == 0
    assert probe.guard.failure is None


def test_afterwards_the_model_pickles_copies_and_exports_as_before() -> None:
    model = network()
    before = set(vars(model[0]))
    optimizer = sgd(model)
    probe = probe_of([], every=1)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=2)
    assert set(vars(model[0])) == before
    assert b"clearsight" not in pickle.dumps(model)
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    assert same_state(copy.deepcopy(model), model)
    torch.export.export(model.eval(), (torch.zeros(2, 3, 10, 10),))


def test_a_copy_made_while_the_model_is_observed_is_not_observed() -> None:
    """Loops keep the best model with copy.deepcopy, in the middle of training."""
    records: list[SavedRecord] = []
    model = network()
    optimizer = sgd(model)
    probe = probe_of(records, every=1)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=2)
        probe.begin_step(3, 1)
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            before = len(records)
            twin(torch.zeros(2, 3, 10, 10))
            assert len(records) == before


def test_an_error_in_the_probe_turns_it_off_and_leaves_the_training_alone() -> None:
    reports: list[str] = []

    def full(record: SavedRecord) -> None:
        if isinstance(record, Snapshot):
            raise OSError("no space")

    model, unwatched = network(), network()
    optimizer = sgd(model)
    guard = Guard("the debugger", report=reports.append, on_failure=lambda error: probe.release())
    probe = Probe(plan_of(every=2), full, guard=guard)
    torch.manual_seed(3)
    with probe.attach(model, optimizer):
        for step, (inputs, labels) in enumerate(batches(6), 1):
            probe.begin_step(step, 1)
            optimizer.zero_grad()
            logits = model(inputs)
            probe.record_predictions(logits, labels)
            nn.functional.cross_entropy(logits, labels).backward()
            optimizer.step()
            probe.end_step()
        assert hooks_on(model, optimizer) == 0
    torch.manual_seed(3)
    train(unwatched, sgd(unwatched), None, steps=6)
    assert reports == ["the debugger failed and is off: OSError: no space"]
    assert same_state(unwatched, model)


def test_an_error_inside_the_optimizers_hooks_does_not_stop_the_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    optimizer = sgd(model)
    probe = probe_of([], every=1)

    def broken(*args: object) -> None:
        raise ValueError("mine")

    monkeypatch.setattr(probe, "_read_gradients", broken)
    with probe.attach(model, optimizer):
        probe.begin_step(1, 1)
        inputs, labels = next(batches(1))
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        assert probe.end_step() == {}
        assert isinstance(probe.guard.failure, ValueError)
        assert hooks_on(model, optimizer) == 0
