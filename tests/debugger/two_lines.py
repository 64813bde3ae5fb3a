"""A plain training loop on real digits that can be wrong in many ways, under the README's two lines alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import clearsight
from clearsight.debugger.hook import Hook

Split = tuple[Tensor, Tensor]  # images (N, 1, 8, 8) and labels (N,)


@cache
def digits() -> tuple[Split, Split]:
    """Return 1,200 training and 300 validation images, normalised, in random order."""
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    images = ((torch.tensor(data.images, dtype=torch.float32)[:, None] / 16 - 0.3) / 0.37)[order]
    labels = torch.tensor(data.target)[order]
    return (images[:1200], labels[:1200]), (images[1200:1500], labels[1200:1500])


def small_cnn() -> nn.Module:
    """Return three convolutions with BatchNorm and a linear head."""
    widths = (1, 16, 32, 32)
    blocks = [nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in pairwise(widths)]
    return nn.Sequential(*blocks, nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def mlp() -> nn.Module:
    """Return a network without norms."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def unchanged(split: Split) -> Split:
    """Return the split as it is."""
    return split


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=2e-3)


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A loop and its faults. train, valid: change the splits."""

    network: Callable[[], nn.Module] = small_cnn
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] = adamw
    loss: nn.Module = field(default_factory=nn.CrossEntropyLoss)
    train: Callable[[Split], Split] = unchanged
    valid: Callable[[Split], Split] = unchanged
    steps: int = 60
    per_epoch: int = 20
    batch: int = 32
    evaluate: bool = True

    def run(self, out: Path) -> Hook:
        """Train and return the hook, which has judged the run."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self._run(out)

    def _run(self, out: Path) -> Hook:
        (images, labels), valid = self.train(digits()[0]), self.valid(digits()[1])
        model, criterion = self.network(), self.loss
        optimizer = self.optimizer(model)
        hook = clearsight.Hook(out).watch(model, loss=criterion, optimizer=optimizer)
        for step in range(self.steps):
            place = step % self.per_epoch
            if place == 0:
                order = torch.randperm(len(images))
            rows = order[torch.arange(place * self.batch, (place + 1) * self.batch) % len(images)]
            model.train()
            optimizer.zero_grad()
            criterion(model(images[rows]), labels[rows]).backward()
            optimizer.step()
            if self.evaluate and (place == self.per_epoch - 1 or step == self.steps - 1):
                model.eval()
                with torch.no_grad():
                    for start in range(0, len(valid[0]), 64):
                        criterion(model(valid[0][start : start + 64]), valid[1][start : start + 64])
        hook.close()
        assert hook.failure is None
        return hook


def warnings_of(hook: Hook) -> list[tuple[str, str]]:
    """Return rule and cause of every root cause that is severe or a warning."""
    found = [finding for finding in hook.findings if finding.found and finding.group == finding.rule]
    return [(finding.rule, finding.cause) for finding in found if finding.severity.value != "info"]
