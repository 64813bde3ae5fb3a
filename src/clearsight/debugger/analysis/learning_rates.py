"""Learning rates of a run: the peak so far, steps at a working rate, and rates that fit the measured updates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.context import RunContext
from clearsight.core.learning_rates import HIGHEST_RATE, Family, head_rate, optimizer_family, usual_rate
from clearsight.core.view import Ints, RunView
from clearsight.debugger.analysis.loss_curve import value_at

# Size of the first update over that of the weights that a proposed rate aims at, and the range of proposed rates.
_FIRST_UPDATE: dict[Family, float] = {"adaptive": 2e-2, "gradient": 3e-3, "": 3e-3}
_RANGE: dict[Family, tuple[float, float]] = {"adaptive": (3e-4, 3e-3), "gradient": (1e-3, 1e-1), "": (1e-4, 1e-2)}
_PRETRAINED_RANGE = (1e-4, 1e-3)  # adaptive: larger steps wipe out what pretrained weights know
_HEAD_UPDATE = 10.0  # times the update for SGD on a head, whose weights begin near zero
_LOW_RATE = 0.1  # of the peak learning rate: in the warm-up and at the end of a cosine little is meant to happen


def head_only(context: RunContext) -> bool:
    """Return True if only the last layers learn: behind cached features, or behind a frozen backbone."""
    moving = [parameter for parameter in context.parameters if parameter.trainable and parameter.optimized]
    only_head = bool(moving) and all(parameter.head for parameter in moving)
    return context.cached or (only_head and len(moving) < len(context.parameters))


def peak_learning_rate(view: RunView) -> float:
    """Return the highest learning rate so far, or the planned one where none was saved; 0 where neither is known."""
    rates = view.scalar("lr").values
    rates = rates[np.isfinite(rates)]
    return float(rates.max()) if rates.size and rates.max() > 0 else float(view.context.lr)


def above_low_rate(view: RunView, steps: Ints) -> npt.NDArray[np.bool_]:
    """Return a mask of the saved `steps` (S,) at a tenth of the peak rate or more; all True where no rate was saved."""
    curve = view.scalar("lr")
    if not len(curve):
        return np.ones(len(steps), bool)
    # The first rate stands for steps before it, unlike `value_at`: a missing first record must not hide those steps.
    nearest = np.clip(np.searchsorted(curve.steps, steps, side="right") - 1, 0, len(curve) - 1)
    rates = curve.values[nearest]
    return np.isfinite(rates) & (rates > 0) & (rates >= _LOW_RATE * peak_learning_rate(view))


def suitable_rate(view: RunView, *, below: float = math.inf, above: float = 0.0) -> float:
    """Return a rate that fits the run, one significant digit, clearly below or above the one that does not.

    Adam moves a weight by about the rate, so a head alone gets the rate of `head_rate`; other networks move by about
    2 % of the weights' root mean square in the first step, and by no more than a rate of 0.001 where the weights are
    pretrained. SGD's update is measured: the first one should be about 0.3 % of the weights (3 % of a head's, which
    begin small), before momentum adds up. Without measurements it is the usual rate.
    Source: Kingma & Ba 2015, "Adam", section 2.1; You et al. 2017, "Large Batch Training of Convolutional Networks".
    """
    context = view.context
    family = optimizer_family(context.optimizer)
    if family == "adaptive" and head_only(context):
        rate = head_rate(context.optimizer, context.steps or view.done())
    else:
        low, high = _PRETRAINED_RANGE if family == "adaptive" and context.pretrained else _RANGE[family]
        per_rate = _first_update(view)
        wanted_update = _FIRST_UPDATE[family] * (_HEAD_UPDATE if head_only(context) else 1.0)
        rate = float(np.clip(wanted_update / per_rate, low, high)) if per_rate else usual_rate(context.optimizer)
    # One change should be enough: a proposal within a factor of three of the bad rate would rarely cure anything.
    if rate > below / 3:
        rate = below / 10
    if rate < above * 3:
        rate = above * 10
    return min(HIGHEST_RATE, float(f"{rate:.1g}"))


def lowered_rate(rate: float) -> float:
    """Return a third of a rate, one significant digit."""
    return min(HIGHEST_RATE, float(f"{rate / 3:.1g}"))


def lower_rate_fix(view: RunView) -> dict[str, Any]:
    """Return the recipe change to a tenth of the learning rate, two digits; {} where the rate is not known."""
    peak = float(view.context.lr) or peak_learning_rate(view)
    return {"lr": float(f"{peak / 10:.1e}")} if peak > 0 else {}


def _first_update(view: RunView) -> float:
    """Return the first measured update over the weights' size, per unit of the learning rate; 0 where not known."""
    ratio = view.scalar("update_ratio")
    rates = value_at(view.scalar("lr"), ratio.steps)
    usable = np.isfinite(ratio.values) & (ratio.values > 0) & (rates > 0)
    return float(ratio.values[usable][0] / rates[usable][0]) if usable.any() else 0.0
