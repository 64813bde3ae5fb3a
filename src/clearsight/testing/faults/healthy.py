"""Healthy runs: a recipe for each network and data set that learns, and honest variations of it.

The zoo has two parts that share no network, and CIFAR-10 is in one of them alone: thresholds are set on `DEVELOPMENT`
and reported on `HELD_OUT`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clearsight.core.recipe import Recipe
from clearsight.testing.faults.setup import Setup

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
    ("vit_tiny", "cifar-10"),
    ("vit_tiny", "digits"),
)
PARTS: Mapping[str, Sequence[Pair]] = {"development": DEVELOPMENT, "held-out": HELD_OUT, "smoke": DEVELOPMENT[:1]}

_HALF = (0.5, 0.5, 0.5)  # what the weights of mobilenetv2 expect
_SIDES: Mapping[Pair, int] = {("mobilenetv2", "intel-scenes"): 64, ("mobilenetv2", "digits"): 48}
_BASES: Mapping[str, Mapping[str, Any]] = {
    "small_cnn": {"lr": 5e-3, "epochs": 8},
    "plain_cnn": {"lr": 2e-3, "epochs": 8},
    "mobilenetv2": {"lr": 1e-3, "epochs": 4, "mean": _HALF, "std": _HALF},
    "resnet18": {"lr": 1e-3, "epochs": 4},
    "vit_tiny": {"lr": 5e-4, "epochs": 8},
}
_SIZES: Mapping[str, int] = {"mobilenetv2": 256, "resnet18": 480}


def base(pair: Pair, seed: int) -> Setup:
    """The recipe that faults are planted in."""
    name, data = pair
    recipe = Recipe.parse({"batch_size": 32, "augment": "none", "seed": seed, **_BASES[name]})
    return Setup(
        network=name,
        data=data,
        seed=seed,
        recipe=recipe,
        side=_SIDES.get(pair, 32),
        train_size=_SIZES.get(name, 320),
    )


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


def controls(pair: Pair, seed: int) -> dict[str, Setup]:
    """The healthy runs of a pair with a seed, by the name of the variation."""
    healthy = base(pair, seed)
    found = {name: healthy.changed(**_fitted(name, dict(changes), healthy)) for name, changes in _VARIATIONS.items()}
    if pair[0] == "mobilenetv2":
        found["frozen"] = replace(healthy.changed(freeze="backbone", lr=5e-3), train_size=320)
    return found


def _fitted(name: str, changes: dict[str, Any], healthy: Setup) -> dict[str, Any]:
    lr, epochs = healthy.recipe.optim.peak, healthy.recipe.train.passes
    match name:
        case "sgd":
            changes["lr"] = 10 * lr
        case "batch-64":
            changes["epochs"] = 2 * epochs
        case "step":
            changes["step_size"] = max(1, epochs // 2)
        case "adam-low":
            changes["lr"] = lr / 2
    return changes
