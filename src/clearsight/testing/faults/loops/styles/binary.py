"""Style of binary classifiers: one output, BCEWithLogitsLoss, and a sigmoid above 0.5 for the positive class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

import clearsight
from clearsight.testing.faults.loops import statements
from clearsight.testing.faults.loops.setup import LoopOutcome, LoopScript


class ByHand(nn.Module):
    """Binary cross entropy on probabilities (N, 1), by its formula."""

    def forward(self, probability: Tensor, target: Tensor) -> Tensor:
        return -(target * probability.log() + (1 - target) * (1 - probability).log()).mean()


def criterion_of(script: LoopScript) -> nn.Module | None:
    """Return the loss module, None where the loss is written in the loop."""
    match script.fault:
        case "bce_broadcast" | "log_of_zero":
            return None
        case "mse_broadcast":
            return nn.MSELoss()
        case _:
            return nn.BCEWithLogitsLoss(reduction=script.settings.reduction)


def loss_of(script: LoopScript, criterion: nn.Module | None, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the loss for outputs (N, 1) and labels (N,)."""
    target = labels.float()
    match script.fault:
        case "bce_broadcast":
            value: Tensor = ByHand()(torch.sigmoid(outputs).clamp(1e-6, 1 - 1e-6), target)
        case "log_of_zero":
            value = ByHand()(nn.functional.hardsigmoid(outputs), target.unsqueeze(1))
        case "mse_broadcast":
            assert criterion is not None
            value = criterion(torch.sigmoid(outputs), target)
        case _:
            assert criterion is not None
            value = criterion(statements.loss_inputs(script, outputs), target.unsqueeze(1))
    return value


def train(script: LoopScript) -> LoopOutcome:
    """Run the script."""
    settings = script.settings
    train_loader = DataLoader(script.train, batch_size=settings.batch_size, **script.order)
    val_loader = DataLoader(script.valid, batch_size=64)
    model = statements.finished(script)
    criterion = criterion_of(script)
    optimizer = statements.make_optimizer(script, model)
    schedule = statements.faulty_schedule(script, optimizer, settings.epochs * len(train_loader))
    scheduler, interval = schedule or (CosineAnnealingLR(optimizer, T_max=settings.epochs), "epoch")

    if criterion is None:
        hook = clearsight.Hook(script.out).watch(model, optimizer=optimizer)
    else:
        hook = clearsight.Hook(script.out).watch(model, loss=criterion, optimizer=optimizer)
    accuracies = []
    change = statements.BatchFault(script.fault)
    model.train()
    for _epoch in range(settings.epochs):
        if script.fault == "model_every_epoch":
            model = script.new_model()
            optimizer = statements.make_optimizer(script, model)
        if script.fault == "always_evaluation_mode":
            model.eval()
        elif script.fault != "train_mode_missing":
            model.train()
        for i, (images, labels) in enumerate(statements.epoch_batches(script.fault, train_loader)):
            images, labels = change(images, labels)
            if script.fault == "optimizer_every_step":
                optimizer = statements.make_optimizer(script, model)
            loss = loss_of(script, criterion, model(images), labels)
            step(script, model, optimizer, statements.changed_loss(script.fault, loss, len(images)), i)
            if interval == "batch":
                scheduler.step()
        if interval == "epoch":
            scheduler.step()
        accuracies.append(evaluate(script, model, criterion, val_loader))
    hook.close()
    return LoopOutcome(model=model, accuracies=tuple(accuracies))


def step(script: LoopScript, model: nn.Module, optimizer: Optimizer, loss: Tensor, index: int) -> None:
    """Clear the gradients, do the backward pass and update the weights."""
    if script.fault != "zero_grad_missing" and index % script.settings.accumulate == 0:
        optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if script.settings.clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), script.settings.clip)
    if script.fault == "zero_grad_before_step":
        optimizer.zero_grad()
    if script.fault != "step_missing" and (index + 1) % script.settings.accumulate == 0:
        optimizer.step()


@torch.no_grad()
def evaluate(script: LoopScript, model: nn.Module, criterion: nn.Module | None, loader: DataLoader[Any]) -> float:
    """Return the accuracy."""
    if script.fault != "eval_mode_missing":
        model.eval()
    correct, total, running_loss = 0, 0, 0.0
    for images, labels in loader:
        outputs = model(images)
        running_loss += loss_of(script, criterion, outputs, labels).item() * len(labels)
        predicted = (torch.sigmoid(outputs).squeeze(1) > 0.5).long()
        correct += int((predicted == labels).sum())
        total += len(labels)
    return correct / total
