"""Small networks and batches for the tests of the debugger."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

CLASSES = 4


def network(seed: int = 0) -> nn.Sequential:
    """Return a network with all that an observer could disturb: dropout, buffers of a norm, an activation in place."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Dropout(0.3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )


def batches(count: int, seed: int = 1, size: int = 8) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield noise with a class-dependent brightness."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        labels = torch.randint(0, CLASSES, (size,), generator=generator)
        yield torch.randn(size, 3, 10, 10, generator=generator) + labels[:, None, None, None], labels


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.05, momentum=0.9)


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 0.01)


def same_state(first: nn.Module, second: nn.Module) -> bool:
    """Return True if two models are equal bit for bit, NaN included."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0)) for a, b in pairs)


def hooks_on(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> int:
    """Return the number of hooks on a model, its parameters and its optimizer."""
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs")
    names += ("_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_forward_hooks_always_called")
    count = sum(len(getattr(module, name)) for module in model.modules() for name in names)
    count += sum(len(p._backward_hooks or ()) for p in model.parameters())
    count += sum(len(p._post_accumulate_grad_hooks or ()) for p in model.parameters())
    if optimizer is not None:
        count += len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)
    return count


Optimizing = Callable[[nn.Module], torch.optim.Optimizer]
