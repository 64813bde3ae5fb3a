"""Healthy runs: for each network and dataset a recipe that learns, and sound variations of it.

There are two parts that share no network, and CIFAR-10 is in one of them alone: thresholds are set on `DEVELOPMENT` and
reported on `HELD_OUT`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clearsight.core.recipe import Recipe
from clearsight.testing.faults.setup import FaultSetup

Pair = tuple[str, str]  # network, data

DEVELOPMENT: tuple[Pair, ...] = (
    ("small_cnn", "digits"),
    ("small_cnn", "intel-scenes"),
    ("plain_cnn", "digits"),
    ("mobilenetv2", "digits"),
    ("mobilenetv2", "intel-scenes"),
)
HELD_OUT: tuple[Pair, ...] = (
    ("resnet18", "cifar-10"),
    ("resnet18", "intel-scenes"),
    ("vit_tiny", "intel-scenes"),
    ("vit_tiny", "digits"),
)
PARTS: Mapping[str, Sequence[Pair]] = {"development": DEVELOPMENT, "held-out": HELD_OUT, "smoke": DEVELOPMENT[:1]}

_HALF = (0.5, 0.5, 0.5)  # mean and standard deviation that the weights of mobilenetv2 expect
# side, training images, recipe. Chosen so that the run learns and does not overfit by the gap between training and
# validation accuracy: a run that overfits is not a healthy one. docs/diagnosis.md lists the changes.
_BASES: Mapping[Pair, tuple[int, int, Mapping[str, Any]]] = {
    ("small_cnn", "digits"): (32, 320, {"lr": 5e-3, "epochs": 8}),
    ("small_cnn", "intel-scenes"): (32, 480, {"lr": 5e-3, "epochs": 6}),
    ("plain_cnn", "digits"): (32, 320, {"lr": 2e-3, "epochs": 8}),
    ("mobilenetv2", "digits"): (48, 256, {"lr": 1e-3, "epochs": 4, "mean": _HALF, "std": _HALF}),
    ("mobilenetv2", "intel-scenes"): (
        *(64, 480),
        {"lr": 1e-3, "epochs": 3, "augment": "light", "mean": _HALF, "std": _HALF},
    ),
    ("resnet18", "cifar-10"): (32, 640, {"lr": 1e-3, "epochs": 3, "augment": "light"}),
    ("resnet18", "intel-scenes"): (32, 480, {"lr": 1e-3, "epochs": 4, "augment": "light"}),
    ("vit_tiny", "digits"): (32, 320, {"lr": 5e-4, "epochs": 8}),
    ("vit_tiny", "intel-scenes"): (32, 480, {"lr": 5e-4, "epochs": 5, "augment": "light"}),
}


def base(pair: Pair, seed: int) -> FaultSetup:
    """Return the setup in which faults are planted."""
    side, size, settings = _BASES[pair]
    recipe = Recipe.parse({"batch_size": 32, "seed": seed, **settings})
    return FaultSetup(network=pair[0], data=pair[1], seed=seed, recipe=recipe, side=side, train_size=size)


_VARIATIONS: Mapping[str, Mapping[str, Any]] = {
    "base": {},
    "sgd": {"optimizer": "sgd", "weight_decay": 1e-3},
    "light": {"augment": "light"},
    "batch-16": {"batch_size": 16},
    "batch-64": {"batch_size": 64},
    "constant": {"schedule": "constant"},
    "step": {"schedule": "step"},
    "smoothing": {"label_smoothing": 0.1},
    "adam-low": {"optimizer": "adam", "weight_decay": 0.0},
    "clip": {"clip_grad": 1.0, "warmup": 0.2},
}


def controls(pair: Pair, seed: int) -> dict[str, FaultSetup]:
    """Return the healthy runs of a pair with a seed, by the name of the variation."""
    healthy = base(pair, seed)
    setups = {name: healthy.changed(**_fitted(name, dict(changes), healthy)) for name, changes in _VARIATIONS.items()}
    if pair[0] == "mobilenetv2":
        setups["frozen"] = healthy.changed(freeze="backbone")
    return {name: setup for name, setup in setups.items() if name == "base" or setup != healthy}


def _fitted(name: str, changes: dict[str, Any], healthy: FaultSetup) -> dict[str, Any]:
    lr, epochs = healthy.recipe.optim.resolved_lr, healthy.recipe.train.resolved_epochs
    match name:
        case "sgd":
            changes["lr"] = 10 * lr
        case "batch-64":
            changes["epochs"] = epochs + max(1, epochs // 3)
        case "step":
            changes["step_size"] = max(1, epochs // 2)
        case "adam-low":
            changes["lr"] = lr / 2
    return changes
