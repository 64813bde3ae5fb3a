"""Synthetic runs for the rules about the loss: ten classes, batches of 16, a plan, and predictions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.context import ParameterInfo, RunContext
from clearsight.core.finding import Finding
from clearsight.core.rule import Rule
from clearsight.core.tensors import Moment, PredictionRecord
from clearsight.core.view import RunView
from clearsight.debugger.storage.tape import Tape

CLASSES = tuple("abcdefghij")
CHANCE = math.log(len(CLASSES))
CONV = ParameterInfo(
    name="conv.weight", layer="conv", shape=(64, 64, 3, 3), kind="weight", trainable=True, optimized=True
)
FROZEN = ParameterInfo(
    name="conv.weight", layer="conv", shape=(64, 64, 3, 3), kind="weight", trainable=False, optimized=False
)
HEAD = ParameterInfo(
    name="fc.weight", layer="fc", shape=(10, 64), kind="weight", trainable=True, optimized=True, head=True
)


def facts(**more: Any) -> RunContext:
    """Return the context of a network whose layers all learn, by AdamW at 0.001."""
    settings = {
        "lr": 1e-3,
        "optimizer": "adamw",
        "schedule": "cosine",
        "warmup": 0.05,
        "freeze": "none",
        "patience": None,
    }
    known: dict[str, Any] = {
        "classes": CLASSES,
        "class_counts": (100,) * len(CLASSES),
        "batch_size": 16,
        "optimizer": "adamw",
        "lr": 1e-3,
        "valid_size": 200,
        "parameters": (CONV, HEAD),
        "settings": settings | dict(more.pop("settings", {})),
    }
    return RunContext(**(known | more))


def cosine(steps: int, peak: float = 1e-3, *, warmup: float = 0.05) -> npt.NDArray[np.float64]:
    """Return a learning rate that rises linearly and then falls to 0 as a cosine."""
    warm = round(warmup * steps)
    rise = peak * (np.arange(warm) + 1) / (warm + 1)
    return np.concatenate([rise, peak * 0.5 * (1 + np.cos(np.pi * np.arange(steps - warm) / max(1, steps - warm)))])


def batches(curve: npt.ArrayLike, *, spread: float = 0.15, seed: int = 0) -> npt.NDArray[np.float64]:
    """Return a loss as small batches show it: noise of a constant spread around its trend, never below 0."""
    clean = np.asarray(curve, dtype=float)
    return np.maximum(clean + spread * np.random.default_rng(seed).standard_normal(clean.shape), 0.001)


def with_predictions(saved: Tape, losses: npt.ArrayLike, *, spread: float = 0.0, size: int = 16, seed: int = 0) -> Tape:
    """Return the tape with predictions at every step: `size` images with losses around the mean of the batch, (S,)."""
    draw = np.random.default_rng(seed)
    for i, mean in enumerate(np.asarray(losses, dtype=float)):
        probability = np.exp(-np.maximum(mean + spread * draw.standard_normal(size), 0.0)).astype(np.float32)
        labels = draw.integers(0, len(CLASSES), size)
        predicted = np.where(probability > 0.5, labels, (labels + draw.integers(1, len(CLASSES), size)) % len(CLASSES))
        confidence = np.maximum(probability, (1 - probability) / 2)
        at = Moment("train", i + 1, 1, i + 1)
        saved.add(PredictionRecord(at, labels, predicted, confidence, probability, np.full(size, -1)))
    return saved


def only(rule: Rule, view: RunView) -> Finding:
    """Return the only finding of a rule."""
    [finding] = rule.check(view)
    return finding
