"""Style of PyTorch's transfer learning tutorial: one function with phases, a loss module, the best weights at the end.

Source: pytorch.org/tutorials/beginner/transfer_learning_tutorial.html
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.utils.data import DataLoader

import clearsight
from clearsight.testing.faults.loops import statements
from clearsight.testing.faults.loops.setup import LoopOutcome, LoopScript


def train(script: LoopScript) -> LoopOutcome:
    """Run the script."""
    settings = script.settings
    dataloaders = {
        "train": DataLoader(script.train, batch_size=settings.batch_size, **script.order),
        "val": DataLoader(script.valid, batch_size=settings.batch_size, shuffle=False),
    }
    model = statements.finished(script)
    criterion = statements.criterion(script)
    optimizer = statements.make_optimizer(script, model)
    steps = settings.epochs * len(dataloaders["train"])
    schedule = statements.faulty_schedule(script, optimizer, steps)
    step_size = max(1, 2 * settings.epochs // 3)
    scheduler, interval = schedule or (lr_scheduler.StepLR(optimizer, step_size=step_size, gamma=0.1), "epoch")

    hook = clearsight.Hook(script.out).watch(model, loss=criterion, optimizer=optimizer)
    model, accuracies = train_model(script, model, dataloaders, criterion, (optimizer, scheduler, interval))
    hook.close()
    return LoopOutcome(model=model, accuracies=accuracies)


def train_model(
    script: LoopScript,
    model: nn.Module,
    dataloaders: dict[str, DataLoader[Any]],
    criterion: nn.Module,
    tools: tuple[Optimizer, lr_scheduler.LRScheduler, statements.Interval],
) -> tuple[nn.Module, tuple[float, ...]]:
    """Train, and return the model with its best weights and the accuracies, that of the best weights last."""
    optimizer, scheduler, interval = tools
    fault = script.fault
    best_model_wts = copy.deepcopy(model.state_dict())
    best_acc, accuracies = 0.0, []
    change = statements.BatchFault(fault)
    model.train()
    for _epoch in range(script.settings.epochs):
        if fault == "model_every_epoch":
            model = script.new_model()
            optimizer = statements.make_optimizer(script, model)
        for phase in ["train", "val"]:
            set_phase(model, phase, fault)
            running_corrects = torch.tensor(0)
            size = 0
            for index, (inputs, labels) in enumerate(
                statements.epoch_batches(fault if phase == "train" else "", dataloaders[phase])
            ):
                if phase == "train":
                    inputs, labels = change(inputs, labels)
                    if fault == "optimizer_every_step":
                        optimizer = statements.make_optimizer(script, model)
                    if fault != "zero_grad_missing" and index % script.settings.accumulate == 0:
                        optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(statements.loss_inputs(script, outputs), labels)
                    if phase == "train":
                        update(script, model, optimizer, statements.changed_loss(fault, loss, len(inputs)), index)
                        if interval == "batch":
                            scheduler.step()
                running_corrects += torch.sum(preds == labels.data)
                size += inputs.size(0)
            if phase == "train" and interval == "epoch":
                scheduler.step()
            epoch_acc = running_corrects.item() / size
            if phase == "val":
                accuracies.append(epoch_acc)
            if phase == "val" and epoch_acc > best_acc:
                best_acc = epoch_acc
                best_model_wts = copy.deepcopy(model.state_dict())
    model.load_state_dict(best_model_wts)
    return model, (*accuracies, best_acc)


def set_phase(model: nn.Module, phase: str, fault: str) -> None:
    """Set the mode of the model for a phase."""
    if phase == "train" and fault not in ("train_mode_missing", "always_evaluation_mode"):
        model.train()
    elif (phase == "val" and fault != "eval_mode_missing") or fault == "always_evaluation_mode":
        model.eval()


def update(script: LoopScript, model: nn.Module, optimizer: Optimizer, loss: Tensor, index: int) -> None:
    """Do the backward pass and the step of a batch."""
    loss.backward()  # type: ignore[no-untyped-call]
    if script.settings.clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), script.settings.clip)
    if script.fault == "zero_grad_before_step":
        optimizer.zero_grad()
    if script.fault != "step_missing" and (index + 1) % script.settings.accumulate == 0:
        optimizer.step()
