"""Synthetic statistics of a small network: six convolutions with norm and ReLU, and a linear head of ten classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from clearsight.core.context import LayerInfo, ParameterInfo, RunContext

CLASSES = tuple("abcdefghij")
DEPTH = 6
CONVS = tuple(f"conv{i}.weight" for i in range(1, DEPTH + 1))
WEIGHTS = (*CONVS, "fc.weight")
SHAPES = dict.fromkeys(CONVS, (32, 32, 3, 3)) | {"fc.weight": (10, 32)}


def facts(
    *,
    act: str = "relu",
    frozen: tuple[str, ...] = (),
    unheld: tuple[str, ...] = (),
    optimizer: str = "AdamW",
    **more: Any,
) -> RunContext:
    """Return the network's context. frozen: parameters without gradient; unheld: those that the optimizer lacks."""
    layers, parameters = [], []
    for i in range(1, DEPTH + 1):
        layers += [LayerInfo(name=f"conv{i}", kind="conv", type="Conv2d")]
        layers += [LayerInfo(name=f"norm{i}", kind="norm", type="BatchNorm2d")]
        layers += [LayerInfo(name=f"act{i}", kind=act, type={"relu": "ReLU"}.get(act, act.title()))]
        parameters += [(f"conv{i}.weight", "weight", (32, 32, 3, 3)), (f"norm{i}.weight", "norm", (32,))]
    layers += [LayerInfo(name="fc", kind="linear", type="Linear")]
    parameters += [("fc.weight", "weight", (10, 32)), ("fc.bias", "bias", (10,))]
    defaults = {"classes": CLASSES, "lr": 1e-3, "settings": {"weights": "none", "freeze": "none", "model": "resnet18"}}
    return RunContext(
        optimizer=optimizer,
        layers=tuple(layers),
        parameters=tuple(
            ParameterInfo(
                name=name,
                layer=name.rpartition(".")[0],
                shape=shape,
                kind=kind,
                trainable=name not in frozen,
                optimized=name not in frozen and name not in unheld,
                head=name.startswith("fc"),
            )
            for name, kind, shape in parameters
        ),
        **{**defaults, **more},
    )


def he(name: str) -> float:
    """Return the standard deviation of an ordinary initialisation of a weight of the network."""
    return math.sqrt(2 / math.prod(SHAPES[name][1:]))


def weights(gain: float = 1.0, **other: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return statistics of the weights, `gain` times an ordinary initialisation; `other` by layer: conv1={...}."""
    saved = {}
    for name in WEIGHTS:
        std, count = gain * he(name), math.prod(SHAPES[name])
        low, high = (end * std for end in (-2.0, 2.0))
        saved[name] = spread(std, count) | {"min": low, "max": high} | dict(other.get(name.split(".")[0], {}))
    return saved


def spread(std: float, count: int = 1000) -> dict[str, Any]:
    """Return statistics of a tensor of values around 0."""
    return {"count": count, "std": std, "abs_mean": 0.8 * std, "l2": std * math.sqrt(count)}


def constant(value: float, count: int = 1000) -> dict[str, Any]:
    """Return statistics of a tensor of equal values."""
    statistics = {"mean": value, "std": 0.0, "min": value, "max": value, "abs_mean": abs(value)}
    return {**statistics, "count": count, "l2": abs(value) * math.sqrt(count), "zero_fraction": float(value == 0)}


def series(collection: str, std: Mapping[str, Any] | float, points: int) -> dict[str, dict[str, Any]]:
    """Return statistics over `points` snapshots of each weight's gradient or update; std: one value or by weight."""
    saved = {}
    for name in WEIGHTS:
        level = np.broadcast_to(np.asarray(std[name] if isinstance(std, Mapping) else std, float), points)
        statistics = {
            key: value * level for key, value in {"std": 1.0, "abs_mean": 0.8, "max": 2.0, "min": -2.0}.items()
        }
        size = math.sqrt(math.prod(SHAPES[name]))
        saved[f"{collection}/{name}"] = {**statistics, "l2": size * level, "zero_fraction": (level == 0).astype(float)}
    return saved
