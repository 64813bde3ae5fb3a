"""Probe: names where the first NaN or infinity was born."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clearsight.core.tensors import Event, SavedRecord
from tests.debugger.capture.probing import Disturb, of_kind, probe_of, train
from tests.debugger.networks import batches, network, sgd


def event_of(disturb: Disturb, model: nn.Module | None = None) -> Event:
    records: list[SavedRecord] = []
    model = model or network()
    optimizer = sgd(model)
    probe = probe_of(records, every=100)
    with probe.attach(model, optimizer):
        train(model, optimizer, probe, steps=6, disturb=disturb)
    (event,) = of_kind(records, Event)  # once, and never again
    assert event.kind == "nonfinite"
    assert event.at.step == 3
    return event


def test_nan_in_the_input_is_named() -> None:
    event = event_of(lambda step, inputs, model: inputs[0].fill_(torch.nan) if step == 3 else None)
    assert (event.details["where"], event.subject) == ("input", "input")


def test_the_layer_that_made_the_first_nan_is_named() -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sqrt(x - self.shift) if hasattr(self, "shift") else x

    model = network()
    model.insert(4, Root())

    def disturb(step: int, inputs: Tensor, model: nn.Module) -> None:
        if step == 3:
            model[4].shift = 1e9

    event = event_of(disturb, model)
    assert (event.details["where"], event.subject) == ("layer", "4")


def test_a_gradient_is_named_where_the_outputs_are_finite() -> None:
    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            return gradient * torch.inf

    class Layer(nn.Module):
        on = False

        def forward(self, x: Tensor) -> Tensor:
            return Bad.apply(x) if self.on else x

    model = network()
    model.insert(6, Layer())

    def disturb(step: int, inputs: Tensor, model: nn.Module) -> None:
        model[6].on = step == 3

    event = event_of(disturb, model)
    assert (event.details["where"], event.subject) == ("gradient", "gradient/1.bias")


def test_a_loss_that_is_not_finite_is_named_before_its_backward() -> None:
    records: list[SavedRecord] = []
    model = network()
    probe = probe_of(records)
    with probe.attach(model, sgd(model)):
        probe.begin_step(1, 1)
        inputs, labels = next(batches(1))
        probe.record_predictions(model(inputs), labels)
        probe.check_loss(torch.tensor(torch.nan), "loss_1")
    assert [(event.details["where"], event.subject) for event in of_kind(records, Event)] == [("loss", "loss_1")]


def test_weights_that_were_infinite_already_name_their_layer() -> None:
    def disturb(step: int, inputs: Tensor, model: nn.Module) -> None:
        if step == 3:
            model[6].weight.data.fill_(torch.inf)

    assert event_of(disturb).subject == "6"
