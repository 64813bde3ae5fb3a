"""Style of loops over iterations: no epochs, an endless iterator, evaluation every so many updates.

Micro-batches are accumulated in an inner loop, and the rate is set by hand.
Source: github.com/karpathy/nanoGPT, train.py
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

import clearsight
from clearsight.testing.faults.loops import statements, unseen_statements
from clearsight.testing.faults.loops.setup import LoopOutcome, LoopScript

_WARM_UP = 0.05  # of the iterations
_MIN_LR = 0.1  # of the rate


def endless(script: LoopScript, loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield batches for ever."""
    while True:
        yield from unseen_statements.batches(script, loader)


def get_lr(script: LoopScript, iteration: int, max_iters: int) -> float:
    """Return the rate of an iteration: linear warm-up, then a cosine down to `min_lr`."""
    learning_rate, warmup_iters = script.settings.lr, max(1, round(_WARM_UP * max_iters))
    lr_decay_iters, min_lr = float(max_iters), _MIN_LR
    if script.fault == "decay_ends_early":
        lr_decay_iters, min_lr = unseen_statements.SHORT * max_iters, unseen_statements.LOWEST
    if iteration < warmup_iters:
        return learning_rate * (iteration + 1) / (warmup_iters + 1)
    return learning_rate * unseen_statements.cosine(iteration - warmup_iters, lr_decay_iters, min_lr)


def train(script: LoopScript) -> LoopOutcome:
    """Run the script."""
    settings, fault = script.settings, script.fault
    train_loader = DataLoader(script.train, batch_size=settings.batch_size, **script.order)
    val_loader = DataLoader(script.valid, batch_size=64)
    max_iters = max(1, settings.epochs * len(train_loader) // settings.accumulate)
    eval_interval = max(1, len(train_loader) // settings.accumulate)
    model = statements.finished(script)
    optimizer = unseen_statements.make_optimizer(script, model)
    cleared = unseen_statements.cleared_optimizer(script, model, optimizer)
    scaler = unseen_statements.scaler(script)
    schedule = unseen_statements.faulty_schedule(script, optimizer, max_iters)
    by_hand = schedule is None or fault == "decay_ends_early"
    raw_model = unseen_statements.evaluated_model(script, model)
    data_iter = endless(script, train_loader)
    change = unseen_statements.StepFault(fault)
    scales = [group["lr"] / settings.lr if settings.lr else 1.0 for group in optimizer.param_groups]
    model.train()

    hook = clearsight.Hook(script.out).watch(model, optimizer=optimizer)
    accuracies: list[float] = []
    for iter_num in range(max_iters):
        if fault == "always_evaluation_mode":
            model.eval()
        if fault == "model_every_epoch" and iter_num % eval_interval == 0:
            model = raw_model = script.new_model().train()
            optimizer = cleared = unseen_statements.make_optimizer(script, model)
        if fault == "optimizer_every_step":
            optimizer = cleared = unseen_statements.make_optimizer(script, model)
        if by_hand:
            for group, scale in zip(optimizer.param_groups, scales, strict=True):
                group["lr"] = scale * get_lr(script, iter_num, max_iters)
        unseen_statements.after_train_mode(script, model)
        for _micro_step in range(settings.accumulate):
            images, targets = change(*next(data_iter))
            logits = model(images)
            loss = change.loss(partial(unseen_statements.function_loss, script), logits, targets)
            if settings.accumulate > 1 and fault != "accumulation_without_division":
                loss = loss / settings.accumulate
            scaled = scaler.scale(statements.changed_loss(fault, loss, len(images)))
            scaled.backward()  # type: ignore[no-untyped-call]
        update(script, model, optimizer, cleared, scaler)
        evaluating = (iter_num + 1) % eval_interval == 0 or iter_num + 1 == max_iters
        if evaluating:
            accuracy, val_loss = evaluate(script, raw_model, optimizer, val_loader)
            accuracies.append(accuracy)
        if schedule and not by_hand:
            if schedule[1] == "batch" or (schedule[1] == "epoch" and evaluating):
                schedule[0].step()
            elif schedule[1] == "plateau" and evaluating:
                schedule[0].step(val_loss)
    hook.close()
    return LoopOutcome(model=raw_model, accuracies=tuple(accuracies))


def update(
    script: LoopScript, model: nn.Module, optimizer: Optimizer, cleared: Optimizer, scaler: torch.amp.GradScaler
) -> None:
    """Clip the gradients, update the weights, and clear the gradients."""
    fault = script.fault
    if script.settings.clip is not None:
        if fault not in unseen_statements.SCALED:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), script.settings.clip)
    if fault == "zero_grad_before_step":
        optimizer.zero_grad(set_to_none=True)
    if fault == "scaled_loss_stepped":
        optimizer.step()
    elif fault != "step_missing":
        scaler.step(optimizer)
        scaler.update()
    if fault != "zero_grad_missing":
        cleared.zero_grad(set_to_none=True)
    unseen_statements.limit_weights(script, model)


def evaluate(
    script: LoopScript, model: nn.Module, optimizer: Optimizer, loader: DataLoader[Any]
) -> tuple[float, float]:
    """Return the accuracy and the mean of the losses."""
    if script.fault != "eval_mode_missing":
        model.eval()
    correct, losses = 0, []
    for images, targets in loader:
        with torch.set_grad_enabled(script.fault == "trained_on_validation"):
            logits = model(images)
            loss = unseen_statements.function_loss(script, logits, targets)
        unseen_statements.train_on(script, optimizer, loss)
        losses.append(loss.item())
        correct += int((unseen_statements.predictions(script, logits) == targets).sum())
    if script.fault not in ("train_mode_missing", "always_evaluation_mode"):
        model.train()
    return correct / len(script.valid), sum(losses) / len(losses)  # type: ignore[arg-type]
