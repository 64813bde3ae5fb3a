"""WeightChanges: what is written into the weights between optimizer steps, read without their values where possible."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clearsight.core.context import WeightWrites
from clearsight.core.tensors import SavedRecord
from clearsight.debugger.capture.model_inspection import InspectedModel
from clearsight.debugger.capture.transfer import RecordSender
from clearsight.debugger.capture.weight_changes import WeightChanges, WeightSample, tracked

EPOCHS, STEPS = 4, 20  # of an epoch
Write = Callable[[nn.Module], None]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Flatten(), nn.Linear(576, 16), nn.Linear(16, 4))


class Training:
    """Steps of random gradients in a fixed direction, without a forward pass."""

    def __init__(self, model: nn.Module | None = None) -> None:
        self.model = model or network()
        records: list[SavedRecord] = []
        self.changes = WeightChanges(InspectedModel.of(self.model), RecordSender(records.append))
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.001)
        self.start = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.done = 0
        self._draw = torch.Generator().manual_seed(1)
        self._drift = [torch.randn(p.shape, generator=self._draw) for p in self.model.parameters()]

    def step(self) -> None:
        for parameter, drift in zip(self.model.parameters(), self._drift, strict=True):
            parameter.grad = drift + torch.randn(parameter.shape, generator=self._draw)
        self.changes.before_update(self.optimizer, self.done)
        self.optimizer.step()
        self.changes.after_update(self.optimizer)
        self.done += 1

    def epochs(self, before: Write | None = None, after_step: Write | None = None, *, evaluate: bool = True) -> None:
        for _ in range(EPOCHS):
            if before is not None:
                before(self.model)
            for _ in range(STEPS):
                self.step()
                if after_step is not None:
                    after_step(self.model)
            if evaluate:
                self.changes.evaluated(self.done)

    def writes(self) -> WeightWrites:
        self.changes.end(self.done)
        return self.changes.info()

    def load(self, model: nn.Module) -> None:
        model.load_state_dict(self.start)

    def load_data(self, model: nn.Module) -> None:
        for name, parameter in model.named_parameters():
            parameter.data.copy_(self.start[name])


def test_training_alone_changes_nothing_in_between() -> None:
    training = Training()
    training.epochs()
    writes = training.writes()
    assert writes.checked > 16
    assert (writes.changed, writes.returns, writes.final) == (0, (), None)


# Weights that are set back


@pytest.mark.parametrize("evaluate", [True, False])
def test_weights_that_are_loaded_before_every_epoch_are_those_of_the_start(evaluate: bool) -> None:
    training = Training()
    training.epochs(training.load, evaluate=evaluate)
    assert training.writes().returns == ((20, 0), (40, 0), (60, 0))
    assert training.writes().undone == pytest.approx(1)


def test_writes_to_data_leave_no_trace_but_the_values_and_are_seen_after_an_evaluation() -> None:
    training = Training()
    training.epochs(training.load_data)
    assert training.writes().returns == ((20, 0), (40, 0), (60, 0))


def test_weights_of_an_evaluation_are_known_by_its_step() -> None:
    training, states = Training(), list[dict[str, Tensor]]()

    def load_first(model: nn.Module) -> None:
        if training.done:
            states.append({name: value.clone() for name, value in model.state_dict().items()})
            model.load_state_dict(states[0])

    training.epochs(load_first)
    assert training.writes().returns == ((40, 20), (60, 20))


def test_new_random_weights_have_nothing_to_do_with_those_before() -> None:
    training = Training()

    def renew(model: nn.Module) -> None:
        for layer in model.children():
            if training.done and isinstance(layer, (nn.Conv2d, nn.Linear)):
                layer.reset_parameters()

    training.epochs(renew)
    assert training.writes().replaced == (20, 40, 60)
    assert training.writes().returns == ()


def test_weights_that_are_loaded_after_the_last_step_are_known() -> None:
    training = Training()
    training.epochs()
    training.load(training.model)
    assert training.writes().final == 0


# Weights that are changed a little


@torch.no_grad()
def limited_norm(model: nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.copy_(parameter.renorm(2, 0, 0.5))


@torch.no_grad()
def decayed(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.mul_(0.999)


def cut_by_data(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.data.clamp_(-0.01, 0.01)


@torch.no_grad()
def cut(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.clamp_(-0.01, 0.01)


@pytest.mark.parametrize("write", [limited_norm, decayed], ids=["norm", "decay"])
def test_small_corrections_after_every_step_leave_most_of_the_way(write: Write) -> None:
    training = Training()
    training.epochs(after_step=write)
    writes = training.writes()
    assert writes.changed == writes.checked
    assert writes.undone < 0.6
    assert (writes.returns, writes.replaced, writes.final) == ((), (), None)
    assert writes.cut < 0.1


@pytest.mark.parametrize("write", [cut, cut_by_data])
def test_weights_that_are_cut_have_one_size(write: Write) -> None:
    training = Training()
    training.epochs(after_step=write)
    writes = training.writes()
    assert writes.limit == pytest.approx(0.01)
    assert writes.cut > 0.7
    assert writes.changed == writes.checked


@pytest.mark.parametrize("by_data", [True, False])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_lookahead_leaves_its_share_of_the_way(share: float, by_data: bool) -> None:
    training = Training()
    slow = [parameter.detach().clone() for parameter in training.model.parameters()]

    @torch.no_grad()
    def look(model: nn.Module) -> None:
        if training.done % 5 == 0:
            for parameter, old in zip(model.parameters(), slow, strict=True):
                old.lerp_(parameter, share)
                (parameter.data if by_data else parameter).copy_(old)

    training.epochs(after_step=look)
    assert training.writes().undone < 1 - share + 0.01


# What is no change


def test_what_is_put_in_for_an_evaluation_and_taken_out_is_no_change() -> None:
    training = Training()
    for _ in range(EPOCHS):
        for _ in range(STEPS):
            training.step()
        own = {name: value.clone() for name, value in training.model.state_dict().items()}
        training.load(training.model)
        training.changes.evaluated(training.done)
        training.model.load_state_dict(own)
    assert (training.writes().changed, training.writes().final) == (0, None)


def test_a_step_within_a_step_belongs_to_the_outer_one() -> None:
    training = Training()
    inner = torch.optim.SGD(training.model.parameters(), 0.001)
    changes, outer = training.changes, training.optimizer
    for done in range(EPOCHS * STEPS):
        changes.before_update(outer, done)
        changes.before_update(inner, done)
        with torch.no_grad():
            training.model[3].weight.add_(0.01)
        changes.after_update(inner)
        training.load(training.model)
        changes.after_update(outer)
    assert training.writes().changed == 0


def test_weights_with_which_a_new_optimizer_begins_are_a_new_training() -> None:
    training = Training()

    def fold(model: nn.Module) -> None:
        training.load(model)
        training.optimizer = torch.optim.SGD(model.parameters(), 0.001)

    training.epochs(fold)
    writes = training.writes()
    assert (writes.changed, writes.returns) == (0, ())
    assert writes.restarts == (20, 40, 60)


def test_an_optimizer_of_other_weights_is_left_alone() -> None:
    training = Training()
    other = torch.optim.SGD(network().parameters(), 0.001)
    for _ in range(STEPS):
        training.step()
        training.changes.before_update(other, training.done)
        training.changes.after_update(other)
    assert training.writes().restarts == ()
    assert training.writes().changed == 0


def test_an_average_that_is_loaded_at_the_end_is_unknown() -> None:
    training = Training()
    training.epochs()
    decayed(training.model)
    assert training.writes().final is None


# Costs and forms


def test_few_values_are_read_of_a_few_weights() -> None:
    parameters = tracked(InspectedModel.of(network()))
    sample = WeightSample(parameters)
    values = sample.take()
    assert [parameter.dim() for parameter in parameters] == [4, 2, 2]
    assert values is not None
    assert len(values) == sum(sample.parts) <= 3 * 128


def test_a_dense_weight_of_any_memory_format_is_read_in_place() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3)).to(memory_format=torch.channels_last)
    sample = WeightSample(tracked(InspectedModel.of(model)))
    before = sample.take()
    with torch.no_grad():
        model[0].weight.add_(1)
    after = sample.take()
    assert before is not None
    assert after is not None
    assert np.allclose((after - before).numpy(), 1)


def test_data_that_is_put_in_place_of_the_old_is_read() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    sample = WeightSample(tracked(InspectedModel.of(model)))
    sample.take()
    model[0].weight.data = torch.ones(4, 4)
    values = sample.take()
    assert values is not None
    assert values.tolist() == [1.0] * 16


def test_weights_that_take_another_form_are_followed_no_more() -> None:
    training = Training()
    training.step()
    for parameter in training.model.parameters():
        parameter.data = torch.zeros(0)
        parameter.grad = None
    for _ in range(3):
        training.changes.before_update(training.optimizer, 1)
        training.changes.after_update(training.optimizer)
    assert training.writes() == WeightWrites()


def test_a_model_without_weights_has_nothing_to_read() -> None:
    changes = WeightChanges(InspectedModel.of(nn.Sequential(nn.ReLU())), RecordSender(lambda record: None))
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(2))], 0.1)
    changes.before_update(optimizer, 0)
    changes.after_update(optimizer)
    changes.evaluated(1)
    changes.end(1)
    assert changes.info() == WeightWrites()


def test_nothing_random_is_drawn() -> None:
    training = Training()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    training.epochs()
    training.writes()
    assert torch.equal(state, torch.get_rng_state())
