"""Statements in which the faults of the unseen part are planted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from clearsight.testing.faults.loops import unseen_statements as statements
from clearsight.testing.faults.loops.setup import LoopScript, LoopSettings

LOGITS, LABELS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3]]), torch.tensor([0, 2])


def script(fault: str = "", **settings: object) -> LoopScript:
    data = TensorDataset(torch.zeros(1))

    def new_model() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))

    return LoopScript(
        out=Path(),
        style="iterations",
        network="strided_cnn",
        fault=fault,
        settings=LoopSettings().changed(**settings),
        model=new_model(),
        new_model=new_model,
        train=data,  # type: ignore[arg-type]
        valid=data,  # type: ignore[arg-type]
        order={},
        class_counts=torch.tensor([8.0, 4.0, 1.0]),
    )


def test_without_a_fault_nothing_changes() -> None:
    healthy = script()
    optimizer = statements.make_optimizer(healthy, healthy.model)
    change = statements.StepFault("")
    assert change(LOGITS, LABELS) == (LOGITS, LABELS)
    expected = nn.functional.cross_entropy(LOGITS, LABELS)
    assert torch.equal(change.loss(statements.criterion(healthy), LOGITS, LABELS), expected)
    assert torch.equal(statements.function_loss(healthy, LOGITS, LABELS), expected)
    assert statements.cleared_optimizer(healthy, healthy.model, optimizer) is optimizer
    assert statements.evaluated_model(healthy, healthy.model) is healthy.model
    assert statements.faulty_schedule(healthy, optimizer, 10) is None
    assert not statements.scaler(healthy).is_enabled()
    assert statements.predictions(healthy, LOGITS).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("fault", "value"),
    [
        ("mse_on_softmax", 0.13),
        ("kl_div_of_probabilities", -0.57),
        ("focal_of_log_probability", 2.19),
        ("logit_temperature", 1.094),
    ],
)
def test_losses(fault: str, value: float) -> None:
    by_function = statements.function_loss(script(fault), LOGITS, LABELS)
    by_module = statements.criterion(script(fault))(statements.loss_inputs(script(fault), LOGITS), LABELS)
    assert torch.equal(by_function, by_module)
    assert float(by_function) == pytest.approx(value, abs=0.02)


def test_mixup_swaps_the_weights_of_its_labels() -> None:
    torch.manual_seed(0)
    change = statements.StepFault("mixup_weights_swapped")
    images, labels = torch.eye(64), torch.arange(64)
    mixed, kept = change(images, labels)
    assert kept is labels
    assert not torch.equal(mixed, images)
    loss = change.loss(lambda outputs, target: (target != labels).float().mean(), mixed, labels)
    assert float(loss) == pytest.approx(float(mixed.diagonal().median()), abs=0.05)


def test_zipped_passes_pair_images_with_other_labels() -> None:
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.arange(64), torch.arange(64)), batch_size=64, shuffle=True)
    ((images, labels),) = statements.batches(script("loaders_zipped"), loader)
    assert sorted(images.tolist()) == sorted(labels.tolist())
    assert float((images == labels).float().mean()) < 0.2
    ((images, labels),) = statements.batches(script(), loader)
    assert torch.equal(images, labels)


def test_an_optimizer_that_maximizes() -> None:
    faulty = script("optimizer_maximizes", optimizer="sgd")
    weight = faulty.model[0].weight  # type: ignore[index]
    before = weight.detach().clone()
    weight.sum().backward()
    statements.make_optimizer(faulty, faulty.model).step()
    assert bool((weight > before).all())


def test_rates_of_a_slow_backbone() -> None:
    faulty = script("slow_backbone", lr=1e-2)
    groups = statements.make_optimizer(faulty, faulty.model).param_groups
    assert [group["lr"] for group in groups] == pytest.approx([1e-2, 1e-5])
    assert sum(len(group["params"]) for group in groups) == len(list(faulty.model.parameters()))


def test_another_optimizer_clears_the_last_layer_alone() -> None:
    faulty = script("other_optimizer_cleared")
    faulty.model(torch.randn(4, 2)).sum().backward()
    optimizer = statements.make_optimizer(faulty, faulty.model)
    statements.cleared_optimizer(faulty, faulty.model, optimizer).zero_grad()
    assert [parameter.grad is None for parameter in faulty.model.parameters()] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("fault", statements.SCALED)
def test_a_scaler_of_the_faults_that_need_one(fault: str) -> None:
    assert statements.scaler(script(fault)).is_enabled()


@pytest.mark.parametrize(("fault", "limited"), [("", False), ("weights_clamped", True)])
def test_clamped_weights(fault: str, limited: bool) -> None:
    faulty = script(fault)
    statements.limit_weights(faulty, faulty.model)
    assert (max(float(parameter.detach().abs().max()) for parameter in faulty.model.parameters()) <= 0.01) == limited


@pytest.mark.parametrize(
    ("fault", "interval", "rate"), [("decay_ends_early", "batch", 1e-6), ("rate_factor_integer", "batch", 0.0)]
)
def test_schedules_of_batches(fault: str, interval: str, rate: float) -> None:
    faulty = script(fault)
    optimizer = statements.make_optimizer(faulty, faulty.model)
    schedule = statements.faulty_schedule(faulty, optimizer, 100)
    assert schedule is not None
    assert schedule[1] == interval
    for _ in range(12):
        optimizer.step()
        schedule[0].step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)


def test_a_plateau_of_the_wrong_mode_lowers_the_rate_at_every_improvement() -> None:
    faulty = script("plateau_wrong_mode")
    optimizer = statements.make_optimizer(faulty, faulty.model)
    schedule = statements.faulty_schedule(faulty, optimizer, 100)
    assert schedule is not None
    for loss in (1.0, 0.8, 0.6):
        schedule[0].step(loss)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-5)


def test_batch_norm_in_evaluation() -> None:
    faulty = script("batch_norm_in_evaluation")
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train()
    statements.after_train_mode(faulty, model)
    assert [module.training for module in model] == [True, False]


def test_a_stale_copy_and_predictions_of_values() -> None:
    faulty = script("evaluated_copy_stale")
    assert statements.evaluated_model(faulty, faulty.model) is not faulty.model
    assert statements.predictions(script("metric_of_values"), LOGITS).tolist() == pytest.approx([2.0, 0.3])


@pytest.mark.parametrize(("fault", "trains"), [("", False), ("trained_on_validation", True)])
def test_steps_on_validation(fault: str, trains: bool) -> None:
    faulty = script(fault, optimizer="sgd")
    weight = faulty.model[0].weight  # type: ignore[index]
    before = weight.detach().clone()
    statements.train_on(faulty, statements.make_optimizer(faulty, faulty.model), weight.sum())
    assert (not torch.equal(weight, before)) == trains
