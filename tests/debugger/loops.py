"""A training loop that knows nothing of the debugger, and the same loop under a hook."""

from __future__ import annotations

import torch
from torch import nn

from clearsight.debugger.hook import Hook
from tests.debugger.networks import batches, hooks_on, network, sgd

STEPS, EPOCHS = 6, 2


def loop(model: nn.Module, optimizer: torch.optim.Optimizer, loss: nn.Module, *, evaluate: bool = True) -> None:
    """Train for two epochs of six steps, each followed by an evaluation of three batches."""
    for epoch in range(EPOCHS):
        model.train()
        for inputs, labels in batches(STEPS, seed=epoch):
            optimizer.zero_grad()
            loss(model(inputs), labels).backward()
            optimizer.step()
        if evaluate:
            model.eval()
            with torch.no_grad():
                for inputs, labels in batches(3, seed=9):
                    loss(model(inputs), labels)


def watched_loop(hook: Hook, model: nn.Module | None = None, *, evaluate: bool = True) -> nn.Module:
    """Train under the hook; return the model. The hook must not fail and must leave nothing behind."""
    model, loss = model or network(), nn.CrossEntropyLoss()
    optimizer = sgd(model)
    with hook.watch(model, loss, optimizer):
        loop(model, optimizer, loss, evaluate=evaluate)
    assert hook.failure is None
    assert hooks_on(model, optimizer) + hooks_on(loss) == 0
    return model
