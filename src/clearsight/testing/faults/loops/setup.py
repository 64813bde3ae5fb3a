"""Settings of a training script, the parts that it makes before its loop, and the result of the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn
from torch.utils.data import Dataset

Images = Dataset[tuple[Tensor, int]]


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """Settings of a script, as its author would set them at its top.

    accumulate: batches per optimizer step.  freeze: only the last layer learns.  pretrained: start from ImageNet.
    train_size: training images.  reduction: of the loss over a batch.
    """

    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: float = 1e-3
    epochs: int = 4
    batch_size: int = 32
    weight_decay: float = 1e-4
    momentum: float = 0.9
    eps: float = 1e-8
    clip: float | None = None
    label_smoothing: float = 0.0
    accumulate: int = 1
    augment: bool = False
    freeze: bool = False
    pretrained: bool = False
    train_size: int = 480
    reduction: Literal["mean", "sum"] = "mean"

    def changed(self, **settings: Any) -> LoopSettings:
        """Return the settings with others in place of some."""
        return replace(self, **settings)


@dataclass(kw_only=True)
class LoopScript:
    """Parts that a script has made before its loop begins.

    out: folder of the hook.  fault: name of the planted fault, "" for none.  network: name of `model`.
    new_model: makes the model again, with other random weights.  train, valid: map-style datasets of (image, label).
    order: keywords of the training DataLoader that decide the order.  class_counts: (C,) training images per class.
    """

    out: Path
    style: str
    network: str
    fault: str
    settings: LoopSettings
    model: nn.Module
    new_model: Callable[[], nn.Module]
    train: Images
    valid: Images
    order: Mapping[str, Any]
    class_counts: Tensor


@dataclass(frozen=True, kw_only=True)
class LoopOutcome:
    """Result of a loop: the network that its author would use, and the accuracies that the loop reported.

    model: maps images (N, 3, H, W) to logits (N, C), or (N, 1) for two classes.
    """

    model: nn.Module
    accuracies: tuple[float, ...]

    @property
    def reported(self) -> float:
        """Validation accuracy that the author reads at the end."""
        return self.accuracies[-1]


Style = Callable[[LoopScript], LoopOutcome]
