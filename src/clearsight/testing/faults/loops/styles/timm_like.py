"""Style of timm's train.py: autocast, averaged weights, a cosine schedule with warm-up per update, clipping.

Source: github.com/huggingface/pytorch-image-models, train.py
"""

from __future__ import annotations

from typing import Any

import torch
from timm.scheduler import CosineLRScheduler
from timm.utils import AverageMeter, ModelEmaV2, accuracy
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

import clearsight
from clearsight.testing.faults.loops import statements
from clearsight.testing.faults.loops.setup import LoopOutcome, LoopScript

_EMA_DECAY, _SLOW_EMA_DECAY = 0.9, 0.9999
_WARM_UP = 0.1  # of the updates


def train(script: LoopScript) -> LoopOutcome:
    """Run the script."""
    settings = script.settings
    loader_train = DataLoader(script.train, batch_size=settings.batch_size, **script.order)
    loader_eval = DataLoader(script.valid, batch_size=2 * settings.batch_size)
    model = statements.finished(script)
    optimizer = statements.make_optimizer(script, model)
    model_ema = ModelEmaV2(model, decay=_SLOW_EMA_DECAY if script.fault == "ema_slow" else _EMA_DECAY)
    train_loss_fn = statements.criterion(script)
    validate_loss_fn = nn.CrossEntropyLoss()
    updates = settings.epochs * (len(loader_train) // settings.accumulate or 1)
    schedule = statements.faulty_schedule(script, optimizer, updates)
    lr_scheduler: Any = schedule
    if schedule is None:
        warmup = max(1, round(_WARM_UP * updates))
        lr_scheduler = CosineLRScheduler(
            optimizer, t_initial=updates, warmup_t=warmup, warmup_lr_init=settings.lr / 100, t_in_epochs=False
        )

    hook = clearsight.Hook(script.out).watch(model, loss=train_loss_fn, optimizer=optimizer)
    accuracies, num_updates = [], 0
    model.train()
    for _epoch in range(settings.epochs):
        if script.fault == "model_every_epoch":
            model = script.new_model()
            optimizer = statements.make_optimizer(script, model)
            model_ema = ModelEmaV2(model, decay=_EMA_DECAY)
        num_updates = train_one_epoch(
            script, model, loader_train, (optimizer, train_loss_fn, lr_scheduler), model_ema, num_updates
        )
        validate(script, model, loader_eval, validate_loss_fn)
        accuracies.append(validate(script, model_ema.module, loader_eval, validate_loss_fn))
        if schedule and schedule[1] == "epoch":
            schedule[0].step()
    hook.close()
    return LoopOutcome(model=model_ema.module, accuracies=tuple(accuracies))


def train_one_epoch(
    script: LoopScript,
    model: nn.Module,
    loader: DataLoader[Any],
    tools: tuple[Optimizer, nn.Module, Any],
    model_ema: ModelEmaV2,
    num_updates: int,
) -> int:
    """Train for an epoch, and return the number of updates so far."""
    optimizer, loss_fn, lr_scheduler = tools
    fault, accum_steps = script.fault, script.settings.accumulate
    change = statements.BatchFault(fault)
    if fault == "always_evaluation_mode":
        model.eval()
    elif fault != "train_mode_missing":
        model.train()
    for batch_idx, (samples, target) in enumerate(statements.epoch_batches(fault, loader)):
        samples, target = change(samples, target)
        if fault == "optimizer_every_step":
            optimizer = statements.make_optimizer(script, model)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(samples)
            loss = loss_fn(statements.loss_inputs(script, output), target)
        if accum_steps > 1 and fault != "accumulation_without_division":
            loss = loss / accum_steps
        statements.changed_loss(fault, loss, len(samples)).backward()  # type: ignore[no-untyped-call]
        if (batch_idx + 1) % accum_steps:
            continue
        if script.settings.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), script.settings.clip)
        if fault == "zero_grad_before_step":
            optimizer.zero_grad()
        if fault != "step_missing":
            optimizer.step()
        if fault != "zero_grad_missing":
            optimizer.zero_grad()
        num_updates += 1
        model_ema.update(model)
        if isinstance(lr_scheduler, CosineLRScheduler):
            lr_scheduler.step_update(num_updates=num_updates)
        elif lr_scheduler[1] == "batch":
            lr_scheduler[0].step()
    return num_updates


def validate(script: LoopScript, model: nn.Module, loader: DataLoader[Any], loss_fn: nn.Module) -> float:
    """Return the top-1 accuracy in [0, 1]."""
    losses_m, top1_m = AverageMeter(), AverageMeter()
    if script.fault != "eval_mode_missing":
        model.eval()
    with torch.no_grad():
        for samples, target in loader:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                output = model(samples)
                loss = loss_fn(output, target)
            acc1 = accuracy(output, target, topk=(1,))[0]
            losses_m.update(loss.item(), samples.size(0))
            top1_m.update(acc1.item(), output.size(0))
    return float(top1_m.avg) / 100
