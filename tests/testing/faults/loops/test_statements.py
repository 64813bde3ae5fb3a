"""Statements in which faults of scripts are planted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from clearsight.testing.faults.loops import statements
from clearsight.testing.faults.loops.setup import LoopScript, LoopSettings

LOGITS, LABELS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3]]), torch.tensor([0, 2])


def script(fault: str = "", style: str = "script", **settings: object) -> LoopScript:
    data = TensorDataset(torch.zeros(1))
    model = nn.Linear(2, 3)
    return LoopScript(
        out=Path(),
        style=style,
        network="mlp",
        fault=fault,
        settings=LoopSettings().changed(**settings),
        model=model,
        new_model=lambda: nn.Linear(2, 3),
        train=data,  # type: ignore[arg-type]
        valid=data,  # type: ignore[arg-type]
        order={},
        class_counts=torch.tensor([8.0, 4.0, 1.0]),
    )


def test_without_a_fault_nothing_changes() -> None:
    healthy = script()
    assert statements.finished(healthy) is healthy.model
    assert statements.loss_inputs(healthy, LOGITS) is LOGITS
    loss = torch.tensor(1.0)
    assert statements.changed_loss("", loss, 4) is loss
    images, labels = statements.BatchFault("")(LOGITS, LABELS)
    assert images is LOGITS
    assert labels is LABELS


def test_the_module_and_the_function_agree() -> None:
    value = statements.criterion(script())(LOGITS, LABELS)
    assert torch.equal(value, statements.function_loss(script(), LOGITS, LABELS))


@pytest.mark.parametrize("style", ["script", "tutorial"])
def test_probabilities_for_cross_entropy(style: str) -> None:
    faulty = script("softmax_before_cross_entropy", style)
    outputs = statements.finished(faulty)(torch.ones(1, 2)).detach()
    assert float(statements.loss_inputs(faulty, outputs).sum()) == pytest.approx(1)
    assert (float(outputs.sum()) == pytest.approx(1)) == (style == "tutorial")


def test_labels_of_the_batch_before() -> None:
    change = statements.BatchFault("labels_of_previous_batch")
    assert change(LOGITS, LABELS)[1] is LABELS
    assert change(LOGITS, LABELS + 1)[1] is LABELS


def test_mixed_images_keep_their_labels() -> None:
    torch.manual_seed(0)
    images, labels = statements.BatchFault("mixup_unmixed")(torch.randn(8, 3, 4, 4), LABELS)
    assert labels is LABELS
    assert images.shape == (8, 3, 4, 4)
    assert float(images.std()) < 0.95


def test_one_batch_for_ever() -> None:
    loader = DataLoader(TensorDataset(torch.arange(12)), batch_size=4)
    assert [batch[0].tolist() for batch in statements.epoch_batches("one_batch_forever", loader)] == [[0, 1, 2, 3]] * 3


@pytest.mark.parametrize(("fault", "value"), [("loss_sign", -2.0), ("mean_divided_again", 0.5)])
def test_changed_losses(fault: str, value: float) -> None:
    assert float(statements.changed_loss(fault, torch.tensor(2.0), 4)) == value


def test_a_detached_loss_reaches_no_weight() -> None:
    weight = torch.tensor(3.0, requires_grad=True)
    statements.changed_loss("backward_of_detached_loss", weight * 2, 1).backward()  # type: ignore[no-untyped-call]
    assert weight.grad is None


def test_inverted_class_weights() -> None:
    weights = statements.class_weights(script("class_weights_inverted"))
    assert weights is not None
    assert weights[0] > weights[2]


@pytest.mark.parametrize(("fault", "belongs"), [("", True), ("optimizer_of_copy", False)])
def test_parameters_of_the_optimizer(fault: str, belongs: bool) -> None:
    faulty = script(fault)
    optimizer = statements.make_optimizer(faulty, faulty.model)
    assert (optimizer.param_groups[0]["params"][0] is faulty.model.weight) == belongs


@pytest.mark.parametrize(
    ("fault", "interval", "rate"),
    [
        ("schedule_per_batch", "batch", 1e-5),
        ("one_cycle_never_stepped", "never", 4e-5),
        ("warm_up_too_long", "batch", 5e-7),
        ("decay_too_soon", "epoch", 6e-9),
    ],
)
def test_faulty_schedules(fault: str, interval: str, rate: float) -> None:
    faulty = script(fault)
    optimizer = statements.make_optimizer(faulty, faulty.model)
    schedule = statements.faulty_schedule(faulty, optimizer, 100)
    assert schedule is not None
    assert schedule[1] == interval
    for _ in range(4 if interval != "never" else 0):
        optimizer.step()
        schedule[0].step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rate, rel=0.1)
