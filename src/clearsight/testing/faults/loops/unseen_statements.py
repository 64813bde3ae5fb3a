"""Statements of the scripts of the unseen part in which its own faults are planted.

Loops call these where their author would write the statement itself. A fault of another part goes to `statements`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

from clearsight.testing.faults.loops import statements
from clearsight.testing.faults.loops.networks import last_linear
from clearsight.testing.faults.loops.setup import LoopScript

Interval = Literal["batch", "epoch", "plateau", "never"]  # a schedule is stepped

SCALED = ("clip_before_unscale", "scaled_loss_stepped")  # faults of a loop with a GradScaler
_TEMPERATURE = 100.0
_SLOWER = 1e-3  # rate of the layers before the last one
_LIMIT = 0.01  # of the weights, as in WGAN
_FOCUS = 2.0  # gamma of the focal loss (Lin et al. 2017)
SHORT = 0.1  # of the run, after which a schedule made for fewer steps has ended
LOWEST = 1e-3  # of the rate, where that schedule ends


class StepFault(statements.BatchFault):
    """Faults in what a step does with its batch and its loss; images (N, 3, H, W) and labels (N,)."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self._share = 1.0
        self._others: Tensor | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self._fault != "mixup_weights_swapped":
            return super().__call__(images, labels)
        self._share = float(torch.distributions.Beta(1.0, 1.0).sample())
        index = torch.randperm(len(labels))
        self._others = labels[index]
        return self._share * images + (1 - self._share) * images[index], labels

    def loss(self, loss_of: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch: that of its labels, or of two sets of labels where images are mixed."""
        if self._others is None:
            return loss_of(outputs, labels)
        return (1 - self._share) * loss_of(outputs, labels) + self._share * loss_of(outputs, self._others)


def batches(script: LoopScript, loader: DataLoader[Any]) -> Iterable[Any]:
    """Return the batches of a pass over the training images."""
    if script.fault == "loaders_zipped":
        return ((images, labels) for (images, _), (_, labels) in zip(loader, loader, strict=True))
    return statements.epoch_batches(script.fault, loader)


# Losses, for outputs (N, C) and labels (N,)


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the squared error of softmax outputs against one-hot labels."""
    return F.mse_loss(F.softmax(outputs, dim=1), F.one_hot(labels, outputs.shape[1]).float())


def divergence(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return kl_div of probabilities, which expects their logarithms."""
    target = F.one_hot(labels, outputs.shape[1]).float()
    return F.kl_div(F.softmax(outputs, dim=1), target, reduction="batchmean")


def focal(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return a focal loss whose weight takes the log-probability for the probability."""
    pt = F.log_softmax(outputs, dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return -((1 - pt) ** _FOCUS * pt).mean()


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse_on_softmax": squared_error,
    "kl_div_of_probabilities": divergence,
    "focal_of_log_probability": focal,
}


class LossByFunctions(nn.Module):
    """Loss module that an author writes with functions."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self._function(outputs, labels)


def criterion(script: LoopScript) -> nn.Module:
    """Return the loss module of a script."""
    function = _LOSSES.get(script.fault)
    return LossByFunctions(function) if function else statements.criterion(script)


def function_loss(script: LoopScript, outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a script that calls functions."""
    function = _LOSSES.get(script.fault)
    inputs = loss_inputs(script, outputs)
    return function(inputs, labels) if function else statements.function_loss(script, inputs, labels)


def loss_inputs(script: LoopScript, outputs: Tensor) -> Tensor:
    """Return what the loss gets for the outputs (N, C) of the model."""
    if script.fault == "logit_temperature":
        return outputs / _TEMPERATURE
    return statements.loss_inputs(script, outputs)


# Optimizers and schedules


def make_optimizer(script: LoopScript, model: nn.Module) -> Optimizer:
    """Return the optimizer of a script for `model`."""
    if script.fault == "slow_backbone":
        head = list(last_linear(model)[2].parameters())
        held = {id(parameter) for parameter in head}
        optimizer = statements.new_optimizer(script.settings, head)
        others = [parameter for parameter in model.parameters() if id(parameter) not in held]
        optimizer.add_param_group({"params": others, "lr": _SLOWER * script.settings.lr})
        return optimizer
    optimizer = statements.make_optimizer(script, model)
    if script.fault == "optimizer_maximizes":
        for group in optimizer.param_groups:
            group["maximize"] = True
    return optimizer


def cleared_optimizer(script: LoopScript, model: nn.Module, optimizer: Optimizer) -> Optimizer:
    """Return the optimizer whose zero_grad the loop calls: the one that steps, or by the fault that of the head."""
    if script.fault == "other_optimizer_cleared":
        return statements.new_optimizer(script.settings, list(last_linear(model)[2].parameters()))
    return optimizer


def scaler(script: LoopScript) -> torch.amp.GradScaler:
    """Return the GradScaler of a script, which does nothing unless its fault needs one."""
    return torch.amp.GradScaler("cpu", enabled=script.fault in SCALED)


def limit_weights(script: LoopScript, model: nn.Module) -> None:
    """Clamp the weights after a step, where the script has it left from a WGAN."""
    if script.fault == "weights_clamped":
        for parameter in model.parameters():
            parameter.data.clamp_(-_LIMIT, _LIMIT)


def faulty_schedule(script: LoopScript, optimizer: Optimizer, steps: int) -> tuple[Any, Interval] | None:
    """Return a schedule with the script's fault and when it is stepped; None where the fault is another one."""
    match script.fault:
        case "decay_ends_early":
            return LambdaLR(optimizer, lambda step: cosine(step, SHORT * steps, LOWEST)), "batch"
        case "rate_factor_integer":
            return LambdaLR(optimizer, lambda step: step // steps), "batch"
        case "plateau_wrong_mode":
            return ReduceLROnPlateau(optimizer, mode="max", factor=0.1, patience=0), "plateau"
        case _:
            return statements.faulty_schedule(script, optimizer, steps)


def cosine(step: int, steps: float, lowest: float) -> float:
    """Return the factor of the rate at a step of a cosine from 1 to `lowest`, which it keeps afterwards."""
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * min(1.0, step / steps))) / 2


# Modes and evaluation


def after_train_mode(script: LoopScript, model: nn.Module) -> None:
    """Put BatchNorm into evaluation mode after model.train(), where the script keeps it there."""
    if script.fault == "batch_norm_in_evaluation":
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def evaluated_model(script: LoopScript, model: nn.Module) -> nn.Module:
    """Return the model that the script evaluates and keeps: `model`, or by the fault a copy that nothing updates."""
    return copy.deepcopy(model) if script.fault == "evaluated_copy_stale" else model


def predictions(script: LoopScript, outputs: Tensor) -> Tensor:
    """Return the predictions (N,) for outputs (N, C); by the fault the largest values in place of their indices."""
    values, indices = outputs.max(dim=1)
    return values if script.fault == "metric_of_values" else indices


def train_on(script: LoopScript, optimizer: Optimizer, loss: Tensor) -> None:
    """Do a step on the loss of a validation batch, where the script's evaluation was copied from its training."""
    if script.fault == "trained_on_validation":
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
