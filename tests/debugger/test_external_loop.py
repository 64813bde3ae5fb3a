"""ExternalLoop: steps, epochs, modes and losses of a loop that reports none of them.

StepCounter: steps are counted; epochs are set, planned or derived; modes are forced or those of the model.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from clearsight.core.errors import BadChoice
from clearsight.core.tensors import Event, Scalars, Snapshot
from clearsight.debugger.step_counter import StepCounter
from tests.debugger.conftest import MakeHook
from tests.debugger.loops import loop, watched_loop
from tests.debugger.networks import batches, network, sgd


def test_without_an_optimizer_argument_steps_and_gradients_are_those_of_the_loop(make_hook: MakeHook) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with make_hook().watch(model, loss) as hook:
        loop(model, optimizer, loss)
    assert (hook.step, hook.tape.done("eval")) == (12, 6)
    assert hook.tape.scalar("loss").steps.tolist() == list(range(1, 13))
    assert "gradient/6.weight" in hook.tape.names("gradients")


def test_an_optimizer_that_was_not_passed_is_followed_from_its_first_step(make_hook: MakeHook) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(3))], 7.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2)
    with make_hook(save_every=1).watch(model) as hook:
        for inputs, labels in batches(8):
            for each in (optimizer, other):
                each.zero_grad()
            loss(model(inputs), labels).backward()
            other.step()  # of another model
            optimizer.step()
            schedule.step()
    context = hook.tape.context
    assert (context.optimizer, context.lr, context.loop.steps) == ("sgd", 0.05, 8)
    assert all(parameter.optimized for parameter in context.parameters)
    assert context.loop.schedule.type == "StepLR"
    assert hook.tape.scalar("grad_norm").steps.tolist() == list(range(1, 9))
    assert hook.tape.scalar("lr").values.tolist() == pytest.approx([0.05 * 0.1 ** (step // 2) for step in range(8)])
    snapshots = [record for record in hook.tape.records if isinstance(record, Snapshot)]
    assert [len(record.names) for record in snapshots] == [len(set(record.names)) for record in snapshots]
    assert {"gradients", "updates", "weights"} <= set(snapshots[0].collections)
    assert {frozenset(record.names) for record in snapshots} == {frozenset(snapshots[-1].names)}


def test_a_second_optimizer_of_the_same_model_holds_what_it_holds(make_hook: MakeHook) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    head = list(model.parameters())[-2:]
    first = torch.optim.SGD(list(model.parameters())[:-2], 0.05)
    second = torch.optim.SGD(head, 0.05)
    with make_hook(rules=["FrozenByMistake"]).watch(model, loss, first) as hook:
        for inputs, labels in batches(12):
            for optimizer in (first, second):
                optimizer.zero_grad()
            loss(model(inputs), labels).backward()
            for optimizer in (first, second):
                optimizer.step()
    assert hook.step == 12
    assert all(parameter.optimized for parameter in hook.tape.context.parameters)
    assert not hook.findings[0].found


def test_a_failure_while_an_optimizer_becomes_known_leaves_the_loop_alone(
    make_hook: MakeHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    hook = make_hook().watch(model)
    monkeypatch.setattr("clearsight.debugger.external_loop.describe_optimizer", lambda *_: 1 / 0)
    loop(model, sgd(model), loss)
    assert isinstance(hook.failure, ZeroDivisionError)
    hook.close()


def test_accumulated_batches_are_values_of_one_step(make_hook: MakeHook) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with make_hook().watch(model, loss, optimizer) as hook:
        for i, (inputs, labels) in enumerate(batches(12), 1):
            (loss(model(inputs), labels) / 3).backward()
            if i % 3 == 0:
                optimizer.step()
                optimizer.zero_grad()
    losses = [r.at.step for r in hook.tape.records if isinstance(r, Scalars) and "loss" in r.values]
    assert losses == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert hook.step == 4
    assert hook.tape.scalar("stale_gradient").values.tolist() == [0.0]


def test_the_rest_of_an_accumulation_is_no_step_and_epochs_go_on(make_hook: MakeHook) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with make_hook(save_every=1).watch(model, loss, optimizer) as hook:
        for _ in range(2):
            model.train()
            for i, (inputs, labels) in enumerate(batches(5), 1):  # the fifth is left over
                loss(model(inputs), labels).backward()
                if i % 2 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
            model.eval()
            loss(model(inputs), labels)
    assert hook.step == 4
    assert hook.tape.scalar("grad_norm").epochs.tolist() == [1, 1, 2, 2]
    assert hook.tape.statistic("l2", "gradients").steps.tolist() == [1, 2, 3, 4]
    assert hook.tape.done("eval") == 2


def test_an_optimizer_step_counts_whatever_mode_the_model_is_in(make_hook: MakeHook) -> None:
    model, loss = network().eval(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with make_hook(save_every=1).watch(model, loss, optimizer) as hook:
        for mode in (None, "train"):
            hook.set_mode(mode)  # type: ignore[arg-type]
            for inputs, labels in batches(2):
                optimizer.zero_grad()
                loss(model(inputs), labels).backward()
                optimizer.step()
    assert hook.step == 4
    assert hook.tape.scalar("grad_norm").steps.tolist() == [1, 2, 3, 4]
    assert hook.tape.scalar("loss").steps.tolist() == [2, 3, 4]  # the first looks like an evaluation


def test_the_epoch_is_the_one_that_is_set(make_hook: MakeHook) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with make_hook().watch(model, loss, optimizer) as hook:
        for epoch in (1, 2, 5):
            hook.start_epoch(epoch)
            loop(model, optimizer, loss)
    assert sorted(set(hook.tape.scalar("loss").epochs.tolist())) == [1, 2, 5]


def test_the_epoch_follows_from_the_plan(make_hook: MakeHook) -> None:
    hook = make_hook(steps=12, epochs=4)
    watched_loop(hook, evaluate=False)
    assert hook.tape.scalar("loss").epochs.tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_predictions_are_no_evaluation_and_end_no_epoch(make_hook: MakeHook) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with make_hook().watch(model, loss, optimizer) as hook:
        loop(model, optimizer, loss, evaluate=False)
        hook.set_mode("predict")
        model.eval()(next(batches(1))[0])
        hook.set_mode(None)
        loop(model, optimizer, loss, evaluate=False)
        assert hook.epoch == 1
    with pytest.raises(BadChoice, match="Did you mean eval"):
        hook.set_mode("evl")  # type: ignore[arg-type]


def test_a_skipped_step_of_a_gradient_scaler_is_no_step(make_hook: MakeHook) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=4.0)
    with make_hook().watch(model, loss, optimizer) as hook:
        for i, (inputs, labels) in enumerate(batches(4)):
            optimizer.zero_grad()
            scaled = scaler.scale(loss(model(inputs), labels))
            (scaled * (torch.inf if i == 1 else 1)).backward()
            scaler.step(optimizer)
            scaler.update()
    assert hook.step == 3
    assert hook.failure is None
    assert hook.tape.events("nonfinite") == []  # expected: the scaler skips such steps


# Losses


def test_several_losses_have_names_and_share_the_predictions(make_hook: MakeHook) -> None:
    model, losses = network(), {"main": nn.CrossEntropyLoss(), "smooth": nn.CrossEntropyLoss(label_smoothing=0.1)}
    optimizer = sgd(model)
    with make_hook().watch(model, losses, optimizer) as hook:
        for inputs, labels in batches(3):
            optimizer.zero_grad()
            logits = model(inputs)
            (losses["main"](logits, labels) + losses["smooth"](logits, labels)).backward()
            optimizer.step()
    assert {"main", "smooth", "accuracy"} <= set(hook.tape.scalars())
    assert len(hook.tape.predictions()) == 3 * 8


def test_losses_of_a_list_are_named_by_their_place(make_hook: MakeHook) -> None:
    model, first, second = network(), nn.CrossEntropyLoss(), nn.CrossEntropyLoss()
    with make_hook().watch(model, [first, second], sgd(model)) as hook:
        inputs, labels = next(batches(1))
        logits = model(inputs)
        first(logits, labels), second(logits, labels)
    assert {"loss", "loss_1"} <= set(hook.tape.scalars())


def test_a_loss_that_is_a_function_is_recorded_by_hand(make_hook: MakeHook) -> None:
    model = network()
    optimizer = sgd(model)
    with make_hook().watch(model, optimizer=optimizer) as hook:
        for inputs, labels in batches(3):
            optimizer.zero_grad()
            logits = model(inputs)
            loss = nn.functional.cross_entropy(logits, labels)
            hook.record(loss=loss, logits=logits, labels=labels, indices=np.arange(8))
            loss.backward()
            optimizer.step()
    assert hook.tape.scalar("loss").steps.tolist() == [1, 2, 3]
    assert hook.tape.predictions().indices.tolist() == [*range(8)] * 3


def test_the_first_nan_is_traced_to_its_layer(make_hook: MakeHook) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with make_hook().watch(model, loss, optimizer) as hook:
        for i, (inputs, labels) in enumerate(batches(4)):
            if i == 2:
                model[6].bias.data[0] = torch.nan
            optimizer.zero_grad()
            loss(model(inputs), labels).backward()
            optimizer.step()
    (event,) = hook.tape.events("nonfinite")
    assert (event.at.step, event.subject, event.details["where"]) == (3, "6", "layer")


def test_a_model_compiled_in_place_is_watched_by_its_optimizer(make_hook: MakeHook) -> None:
    model, loss = network(), nn.CrossEntropyLoss()
    model.compile(backend="eager")
    optimizer = sgd(model)
    with make_hook().watch(model, loss, optimizer) as hook:
        loop(model, optimizer, loss, evaluate=False)
    assert hook.failure is None
    assert hook.tape.context.compiled
    assert hook.step == 12
    assert hook.tape.scalar("loss").steps.tolist() == list(range(1, 13))
    assert any(isinstance(record, Snapshot) for record in hook.tape.records)
    assert not any(isinstance(record, Event) for record in hook.tape.records)


# Counting


def train(counter: StepCounter, steps: int) -> list[int]:
    epochs = []
    for _ in range(steps):
        counter.begin()
        epochs.append(counter.epoch)
        counter.end()
    return epochs


def test_steps_count_from_one() -> None:
    counter = StepCounter()
    assert counter.begin() == 1
    assert counter.open
    counter.end()
    assert (counter.done, counter.open, counter.begin()) == (1, False, 2)


def test_an_evaluation_ends_an_epoch_once() -> None:
    counter = StepCounter()
    assert train(counter, 2) == [1, 1]
    assert [counter.begin_evaluation(), counter.begin_evaluation()] == [True, False]
    assert train(counter, 2) == [2, 2]


def test_an_evaluation_before_the_first_step_ends_nothing() -> None:
    counter = StepCounter()
    counter.begin_evaluation()
    assert train(counter, 1) == [1]


def test_the_plan_goes_before_the_evaluations() -> None:
    counter = StepCounter(per_epoch=2)
    assert train(counter, 1) == [1]
    counter.begin_evaluation()
    assert train(counter, 3) == [1, 2, 2]


def test_an_epoch_that_is_set_goes_before_all() -> None:
    counter = StepCounter(per_epoch=1)
    counter.set_epoch(7)
    assert train(counter, 2) == [7, 7]


def test_an_abandoned_step_gives_its_number_back() -> None:
    counter = StepCounter()
    train(counter, 2)
    assert counter.begin() == 3
    counter.abandon()
    assert (counter.done, counter.begin()) == (2, 3)
