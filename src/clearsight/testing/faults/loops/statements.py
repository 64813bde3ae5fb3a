"""Statements of a script in which faults are planted: what is drawn, what the loss gets, what the optimizer holds.

Loops call these where their author would write the statement itself. Without a fault they return what they get.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from clearsight.testing.faults.loop import LogOfZero
from clearsight.testing.faults.loops.networks import renew_last
from clearsight.testing.faults.loops.setup import LoopScript, LoopSettings

Interval = Literal["batch", "epoch", "never"]  # a schedule is stepped

# Styles whose network ends in the misplaced activation; the others apply it before the loss.
_ENDS_IN_IT = ("tutorial", "hugging_face")
_MISPLACED = {
    "softmax_before_cross_entropy": nn.Softmax(dim=1),
    "sigmoid_before_cross_entropy": nn.Sigmoid(),
    "softmax_over_batch": nn.LogSoftmax(dim=0),
    "bce_logits_on_sigmoid": nn.Sigmoid(),
}
_NEVER = 10_000  # steps of a warm-up
_LAMBDA = 1.0  # of the Beta distribution of mixup (Zhang et al. 2018)


class BatchFault:
    """Faults in what a step does with its batch; images (N, 3, H, W) and labels (N,)."""

    def __init__(self, fault: str) -> None:
        self._fault = fault
        self._previous: Tensor | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self._fault == "mixup_unmixed":
            share = torch.distributions.Beta(_LAMBDA, _LAMBDA).sample()
            return share * images + (1 - share) * images[torch.randperm(len(images))], labels
        if self._fault == "labels_of_previous_batch":
            previous, self._previous = self._previous, labels
            if previous is not None and len(previous) == len(labels):
                return images, previous
        return images, labels


def epoch_batches(fault: str, loader: DataLoader[Any]) -> Iterable[Any]:
    """Return the batches of an epoch of training."""
    if fault == "one_batch_forever":
        return (next(iter(loader)) for _ in range(len(loader)))
    return loader


def finished(script: LoopScript) -> nn.Module:
    """Return the script's model, with the activation behind it that the author put in the wrong place."""
    if script.fault in _MISPLACED and script.style in _ENDS_IN_IT:
        return nn.Sequential(script.model, _MISPLACED[script.fault])
    return script.model


def loss_inputs(script: LoopScript, outputs: Tensor) -> Tensor:
    """Return what the loss gets for the outputs (N, C) of the model."""
    if script.fault in _MISPLACED and script.style not in _ENDS_IN_IT:
        changed: Tensor = _MISPLACED[script.fault](outputs)
        return changed
    return outputs


def changed_loss(fault: str, loss: Tensor, count: int) -> Tensor:
    """Return what backward() is called on, for the loss of a batch of `count` images."""
    match fault:
        case "loss_sign":
            return -loss
        case "mean_divided_again":
            return loss / count
        case "backward_of_detached_loss":
            return torch.tensor(loss.item(), requires_grad=True)
        case "everything_frozen":
            return loss.requires_grad_()
        case _:
            return loss


def class_weights(script: LoopScript) -> Tensor | None:
    """Return the weights of the classes in the loss, (C,): none, or by the fault those of frequent classes high."""
    if script.fault == "class_weights_inverted":
        return script.class_counts / script.class_counts.mean()
    return None


def criterion(script: LoopScript) -> nn.Module:
    """Return the loss module of a script for logits (N, C) and labels (N,)."""
    settings = script.settings
    match script.fault:
        case "nll_on_logits" | "softmax_over_batch":
            return nn.NLLLoss()
        case "log_of_zero":
            return LogOfZero()
        case _:
            return nn.CrossEntropyLoss(
                weight=class_weights(script), label_smoothing=settings.label_smoothing, reduction=settings.reduction
            )


def function_loss(script: LoopScript, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a script that calls functions, for logits (N, C) and labels (N,)."""
    settings = script.settings
    match script.fault:
        case "nll_on_logits" | "softmax_over_batch":
            return functional.nll_loss(outputs, labels)
        case "log_of_zero":
            by_hand: Tensor = LogOfZero()(outputs, labels)
            return by_hand
        case _:
            return functional.cross_entropy(
                outputs,
                labels,
                weight=class_weights(script),
                label_smoothing=settings.label_smoothing,
                reduction=settings.reduction,
            )


def make_optimizer(script: LoopScript, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of a script for `model`."""
    owner = copy.deepcopy(model) if script.fault == "optimizer_of_copy" else model
    parameters = [parameter for parameter in owner.parameters() if parameter.requires_grad]
    optimizer = new_optimizer(script.settings, parameters or list(owner.parameters()))
    if script.fault == "head_replaced_late":
        renew_last(model)
    return optimizer


def new_optimizer(settings: LoopSettings, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer of the settings over `parameters`."""
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=settings.lr, eps=settings.eps, weight_decay=settings.weight_decay)


def faulty_schedule(
    script: LoopScript, optimizer: torch.optim.Optimizer, steps: int
) -> tuple[torch.optim.lr_scheduler.LRScheduler, Interval] | None:
    """Return a schedule with the script's fault and when it is stepped; None where the fault is another one."""
    schedules = torch.optim.lr_scheduler
    match script.fault:
        case "schedule_per_batch":
            return schedules.StepLR(optimizer, step_size=2, gamma=0.1), "batch"
        case "one_cycle_never_stepped":
            return schedules.OneCycleLR(optimizer, max_lr=script.settings.lr, total_steps=max(steps, 2)), "never"
        case "warm_up_too_long":
            return schedules.LinearLR(optimizer, start_factor=1e-4, total_iters=_NEVER), "batch"
        case "decay_too_soon":
            return schedules.StepLR(optimizer, step_size=1, gamma=0.05), "epoch"
        case _:
            return None
