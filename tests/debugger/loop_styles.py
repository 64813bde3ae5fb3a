"""Two styles of training loops on real digits, under the two lines of the README, with parts that a test replaces.

`tutorial`: one function with phases and a loss module, as in PyTorch's transfer learning tutorial.  `script`: train()
and test() with loss functions, as in PyTorch's examples.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from clearsight.core.finding import Finding, Severity
from clearsight.debugger.hook import Hook

CLASSES, EPOCHS, BATCH = 4, 3, 16
Loss = Callable[[Tensor, Tensor], Tensor]
Data = DataLoader[tuple[Tensor, ...]]


def digits(first: int, count: int) -> TensorDataset:
    """Return images (N, 3, 8, 8) in [0, 1] of the digits 0 to 3, and their labels."""
    data = load_digits(n_class=CLASSES)
    images = torch.tensor(data.images[first : first + count], dtype=torch.float32)[:, None].repeat(1, 3, 1, 1) / 16
    return TensorDataset(images, torch.tensor(data.target[first : first + count]))


def network(outputs: int = CLASSES, *last: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1)),
        *(nn.Linear(288, outputs), *last),
    )


def step(model: nn.Module, loss: Loss, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    """Do what a step should."""
    optimizer.zero_grad()
    loss(model(images), labels).backward()
    optimizer.step()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)


@dataclass
class Loop:
    """A loop and its parts. schedule: makes a scheduler.  per_batch: step it after every batch, None for never."""

    model: nn.Module = field(default_factory=network)
    run: nn.Module | None = None  # the model that is run, where it is another one
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] = sgd
    loss: Loss | None = None
    step: Callable[..., None] = step
    schedule: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None = None
    per_batch: bool | None = False
    train_modes: int = EPOCHS  # epochs that call model.train()
    eval_mode: bool = True
    no_grad: bool = True
    shuffle: bool = True
    fresh_loader: bool = False  # a new training loader in every epoch

    def tutorial(self, folder: Path) -> Hook:
        """Run it in the style of a tutorial."""
        criterion = self.loss if isinstance(self.loss, nn.Module) else nn.CrossEntropyLoss()
        return self._watched(folder, criterion, self.loss or criterion)

    def script(self, folder: Path) -> Hook:
        """Run it in the style of a script of functions."""
        return self._watched(folder, None, self.loss or functional.cross_entropy)

    def _watched(self, folder: Path, criterion: nn.Module | None, loss: Loss) -> Hook:
        torch.manual_seed(1)
        model = self.run or self.model
        optimizer = self.optimizer(self.model)
        scheduler = self.schedule(optimizer) if self.schedule else None
        loaders = {"train": self._training(), "val": DataLoader(digits(200, 96), 32)}
        hook = Hook(folder / "mine", quiet=True).watch(self.model, loss=criterion, optimizer=optimizer)
        try:
            for epoch in range(EPOCHS):
                if self.fresh_loader:
                    loaders["train"] = self._training()
                if epoch < self.train_modes:
                    model.train()
                for images, labels in loaders["train"]:
                    self.step(model, loss, optimizer, images, labels)
                    if scheduler is not None and self.per_batch:
                        scheduler.step()
                if scheduler is not None and self.per_batch is False:
                    scheduler.step()
                self._validate(model, loss, loaders["val"])
        finally:
            hook.close()
        assert hook.failure is None
        return hook

    def _training(self) -> Data:
        return DataLoader(digits(0, 192), BATCH, shuffle=self.shuffle)

    def _validate(self, model: nn.Module, loss: Loss, loader: Data) -> None:
        if self.eval_mode:
            model.eval()
        with torch.set_grad_enabled(not self.no_grad):
            for images, labels in loader:
                loss(model(images), labels)


def copied(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model)


def run(style: str, folder: Path, **parts: Any) -> Hook:
    """Run a loop of a style, `tutorial` or `script`, with parts that are replaced; return its closed hook."""
    loop = Loop(**parts)
    return loop.tutorial(folder) if style == "tutorial" else loop.script(folder)


def warnings(hook: Hook) -> list[Finding]:
    """Return what was found, information left out, roots first."""
    return [finding for finding in hook.findings if finding.found and finding.severity is not Severity.INFO]


def roots(hook: Hook) -> set[str]:
    """Return the rules whose findings are root causes."""
    return {finding.rule for finding in warnings(hook) if finding.group == finding.rule}
