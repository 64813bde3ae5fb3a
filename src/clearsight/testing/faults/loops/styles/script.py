"""Style of PyTorch's examples: train() and test() with loss functions, and arguments as of argparse.

Source: github.com/pytorch/examples, mnist/main.py. Where the network is `vgg`, it ends in log_softmax as there, and the
loss is nll_loss; the others use cross_entropy.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

import clearsight
from clearsight.testing.faults.loops import statements
from clearsight.testing.faults.loops.setup import LoopOutcome, LoopScript

_NEGATIVE_LOG_LIKELIHOOD = ("vgg",)
# Faults whose loss gets other inputs than log-probabilities.
_OTHER_LOSS = (
    *("softmax_before_cross_entropy", "sigmoid_before_cross_entropy", "softmax_over_batch", "nll_on_logits"),
    *("log_of_zero", "label_smoothing_09", "class_weights_inverted"),
)


class LogSoftmaxNet(nn.Module):
    """Network that returns log-probabilities (N, C)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.net(x), dim=1)


def train_epoch(
    args: Namespace, model: nn.Module, train_loader: DataLoader[Any], optimizer: Optimizer, scheduler: Any
) -> None:
    script: LoopScript = args.script
    fault, change = script.fault, args.change
    if fault == "always_evaluation_mode":
        model.eval()
    elif fault != "train_mode_missing":
        model.train()
    for batch_idx, (data, target) in enumerate(statements.epoch_batches(fault, train_loader)):
        data, target = change(data, target)
        if fault == "optimizer_every_step":
            optimizer = statements.make_optimizer(script, model)
        if fault != "zero_grad_missing" and batch_idx % args.accumulate == 0:
            optimizer.zero_grad()
        output = model(data)
        loss = statements.changed_loss(fault, args.loss(output, target), len(data))
        loss.backward()  # type: ignore[no-untyped-call]
        if args.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        if fault == "zero_grad_before_step":
            optimizer.zero_grad()
        if fault != "step_missing" and (batch_idx + 1) % args.accumulate == 0:
            optimizer.step()
        if args.interval == "batch":
            scheduler.step()


def test(args: Namespace, model: nn.Module, test_loader: DataLoader[Any]) -> float:
    if args.script.fault != "eval_mode_missing":
        model.eval()
    test_loss = 0.0
    correct = 0
    with torch.no_grad():
        for data, target in test_loader:
            output = model(data)
            test_loss += args.loss(output, target).item() * len(data)
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
    return correct / len(test_loader.dataset)  # type: ignore[arg-type]


def train(script: LoopScript) -> LoopOutcome:
    """Run the script."""
    settings = script.settings
    args = Namespace(
        script=script,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        test_batch_size=80,
        accumulate=settings.accumulate,
        clip=settings.clip,
        change=statements.BatchFault(script.fault),
    )
    train_loader = DataLoader(script.train, batch_size=args.batch_size, **script.order)
    test_loader = DataLoader(script.valid, batch_size=args.test_batch_size)
    model = statements.finished(script)
    if script.network in _NEGATIVE_LOG_LIKELIHOOD and script.fault not in _OTHER_LOSS:
        model = LogSoftmaxNet(model)
        args.loss = lambda output, target: F.nll_loss(output, target, reduction=settings.reduction)
    else:
        args.loss = lambda output, target: statements.function_loss(
            script, statements.loss_inputs(script, output), target
        )
    optimizer = statements.make_optimizer(script, model)
    schedule = statements.faulty_schedule(script, optimizer, args.epochs * len(train_loader))
    scheduler, args.interval = schedule or (StepLR(optimizer, step_size=1, gamma=0.7), "epoch")

    hook = clearsight.Hook(script.out).watch(model, optimizer=optimizer)
    accuracies = []
    model.train()
    for _epoch in range(1, args.epochs + 1):
        if script.fault == "model_every_epoch":
            model = script.new_model()
            optimizer = statements.make_optimizer(script, model)
        train_epoch(args, model, train_loader, optimizer, scheduler)
        accuracies.append(test(args, model, test_loader))
        if args.interval == "epoch":
            scheduler.step()
    hook.close()
    return LoopOutcome(model=model, accuracies=tuple(accuracies))
