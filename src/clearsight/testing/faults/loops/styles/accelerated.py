"""Style of Hugging Face accelerate: prepare, accumulate, backward, and metrics over gathered predictions, on the CPU.

The hook gets torch's optimizer, not the one of accelerate, which lacks the lists of step hooks that torch's has.
Source: github.com/huggingface/accelerate, examples/cv_example.py
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torch.utils.data import DataLoader

import clearsight
from clearsight.testing.faults.loops import statements, unseen_statements
from clearsight.testing.faults.loops.setup import LoopOutcome, LoopScript


def train(script: LoopScript) -> LoopOutcome:
    """Run the script."""
    settings, fault = script.settings, script.fault
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=settings.accumulate)
    train_dataloader = DataLoader(script.train, batch_size=settings.batch_size, **script.order)
    eval_dataloader = DataLoader(script.valid, batch_size=64)
    model = statements.finished(script)
    optimizer = unseen_statements.make_optimizer(script, model)
    steps = settings.epochs * len(train_dataloader) // settings.accumulate
    schedule = unseen_statements.faulty_schedule(script, optimizer, steps)
    lr_scheduler: Any
    lr_scheduler, interval = schedule or (one_cycle(optimizer, steps), "batch")
    cleared = unseen_statements.cleared_optimizer(script, model, optimizer)
    eval_model = unseen_statements.evaluated_model(script, model)
    model, prepared, train_dataloader, eval_dataloader = accelerator.prepare(
        model, optimizer, train_dataloader, eval_dataloader
    )
    cleared = prepared if cleared is optimizer else cleared
    optimizer = prepared
    eval_model = model if fault != "evaluated_copy_stale" else eval_model
    change = unseen_statements.StepFault(fault)
    model.train()

    hook = clearsight.Hook(script.out).watch(model, optimizer=optimizer.optimizer)
    accuracies = []
    for _epoch in range(settings.epochs):
        if fault == "model_every_epoch":
            model = eval_model = script.new_model()
            optimizer = cleared = unseen_statements.make_optimizer(script, model)
        if fault == "schedule_made_every_epoch":
            lr_scheduler = CosineAnnealingLR(optimizer, T_max=len(train_dataloader))
        if fault == "always_evaluation_mode":
            model.eval()
        elif fault != "train_mode_missing":
            model.train()
        unseen_statements.after_train_mode(script, model)
        for images, targets in unseen_statements.batches(script, train_dataloader):
            with accelerator.accumulate(model):
                images, targets = change(images, targets)
                if fault == "optimizer_every_step":
                    optimizer = cleared = unseen_statements.make_optimizer(script, model)
                outputs = model(images)
                loss = change.loss(partial(unseen_statements.function_loss, script), outputs, targets)
                accelerator.backward(statements.changed_loss(fault, loss, len(images)))
                update(script, accelerator, model, (optimizer, cleared))
                if interval == "batch" and accelerator.sync_gradients:
                    lr_scheduler.step()
        accuracy, eval_loss = evaluate(script, accelerator, eval_model, optimizer, eval_dataloader)
        accuracies.append(accuracy)
        if interval == "plateau":
            lr_scheduler.step(eval_loss)
        elif interval == "epoch":
            lr_scheduler.step()
    hook.close()
    accelerator.free_memory()
    return LoopOutcome(model=accelerator.unwrap_model(eval_model), accuracies=tuple(accuracies))


def one_cycle(optimizer: Optimizer, steps: int) -> OneCycleLR:
    """Return the schedule; the momentum stays as it is."""
    rates = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, max_lr=rates, total_steps=steps + 1, cycle_momentum=False)


def update(script: LoopScript, accelerator: Accelerator, model: nn.Module, tools: tuple[Optimizer, Optimizer]) -> None:
    """Clip the gradients, update the weights, and clear the gradients."""
    optimizer, cleared = tools
    if accelerator.sync_gradients and script.settings.clip is not None:
        accelerator.clip_grad_norm_(model.parameters(), script.settings.clip)
    if script.fault == "zero_grad_before_step":
        optimizer.zero_grad()
    if script.fault != "step_missing":
        optimizer.step()
    if script.fault != "zero_grad_missing":
        cleared.zero_grad()
    unseen_statements.limit_weights(script, model)


def evaluate(
    script: LoopScript, accelerator: Accelerator, model: nn.Module, optimizer: Optimizer, loader: DataLoader[Any]
) -> tuple[float, float]:
    """Return the accuracy and the mean of the losses."""
    if script.fault != "eval_mode_missing":
        model.eval()
    accurate, num_elems, losses = 0, 0, []
    for images, targets in loader:
        with torch.set_grad_enabled(script.fault == "trained_on_validation"):
            outputs = model(images)
            loss = unseen_statements.function_loss(script, outputs, targets)
        unseen_statements.train_on(script, optimizer, loss)
        losses.append(loss.item())
        predictions = unseen_statements.predictions(script, outputs)
        predictions, targets = accelerator.gather_for_metrics((predictions, targets))
        accurate += int((predictions == targets).sum())
        num_elems += len(targets)
    return accurate / num_elems, sum(losses) / len(losses)
