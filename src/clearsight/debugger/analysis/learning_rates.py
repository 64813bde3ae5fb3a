"""Learning rates that fit: what is usual for an optimizer, and what the measured updates say."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.view import RunView
from clearsight.debugger.analysis.loss_curve import value_at

Family = Literal["adaptive", "gradient", ""]

_USUAL: dict[Family, float] = {"adaptive": 1e-3, "gradient": 1e-2, "": 1e-3}
_UPDATE: dict[Family, float] = {"adaptive": 2e-2, "gradient": 3e-3, "": 3e-3}  # of the weights, at the first step
_RANGE: dict[Family, tuple[float, float]] = {"adaptive": (3e-4, 3e-3), "gradient": (1e-3, 1e-1), "": (1e-4, 1e-2)}
_HIGHEST = 10.0  # that a recipe takes
_HEAD_REACH, _HEAD_RANGE = 0.6, (1e-3, 5e-3)
_HEAD_UPDATE = 10.0  # times as much of a head that begins near nothing, by SGD
_KNOWN_WEIGHTS = (1e-4, 1e-3)  # adaptive, for weights that already know something


def optimizer_family(facts: RunContext) -> Family:
    """adaptive: the size of an update is the rate's, whatever the gradient's (Adam and its kin).  gradient: it is the
    rate times the gradient (SGD).  "": not known."""
    name = facts.optimizer.lower()
    if any(word in name for word in ("adam", "rmsprop", "lion", "adafactor", "lamb")):
        return "adaptive"
    return "gradient" if "sgd" in name else ""


def usual_rate(facts: RunContext) -> float:
    """The rate that people start from with this optimizer."""
    return _USUAL[optimizer_family(facts)]


def highest_usual_rate(facts: RunContext) -> float:
    """The highest rate that goes well with some network or other."""
    return {"adaptive": 1e-2, "gradient": 0.3, "": math.inf}[optimizer_family(facts)]


def head_only(facts: RunContext) -> bool:
    """Whether only the last layers learn: the tail behind cached features, or a head behind a frozen backbone."""
    moving = [parameter for parameter in facts.parameters if parameter.trainable and parameter.optimized]
    alone = bool(moving) and all(parameter.head for parameter in moving) and len(moving) < len(facts.parameters)
    return facts.cached or alone


def suitable_rate(view: RunView, *, below: float = math.inf, above: float = 0.0) -> float:
    """A rate that fits the run, one significant digit, below or above the one that does not.

    Adam moves a weight by about the rate, so that a head alone needs about 0.6 / steps (the reach that a new head has
    to have); other networks by about 2 % of the weights' root mean square in a step at first, and no more than 0.001
    where the weights are not new. SGD's update is measured: the first one should be about 0.3 % of the weights (3 %
    of a head's, which begin small), before momentum adds up. Without measurements it is the usual rate.
    Source: Kingma & Ba 2015, "Adam", section 2.1; You et al. 2017, "Large Batch Training of Convolutional Networks".
    """
    kind, facts = optimizer_family(view.facts), view.facts
    if kind == "adaptive" and head_only(facts):
        steps = facts.steps or view.done()
        rate = float(np.clip(_HEAD_REACH / max(steps, 1), *_HEAD_RANGE))
    else:
        low, high = _RANGE[kind]
        if kind == "adaptive" and facts.pretrained:
            low, high = _KNOWN_WEIGHTS
        per_rate = _first_update(view)
        wanted = _UPDATE[kind] * (_HEAD_UPDATE if head_only(facts) else 1.0)
        rate = float(np.clip(wanted / per_rate, low, high)) if per_rate else _USUAL[kind]
    if rate > below / 3:
        rate = below / 10
    if rate < above * 3:
        rate = above * 10
    return min(_HIGHEST, _rounded(rate))


def lowered_rate(rate: float) -> float:
    """A third of a rate, one significant digit."""
    return min(_HIGHEST, _rounded(rate / 3))


def _rounded(value: float) -> float:
    return float(f"{value:.1g}")


def _first_update(view: RunView) -> float:
    """Size of the first measured update over that of the weights, per unit of the learning rate; 0 if not known."""
    ratio = view.scalar("update_ratio")
    rates = value_at(view.scalar("lr"), ratio.steps)
    fine = np.isfinite(ratio.values) & (ratio.values > 0) & (rates > 0)
    return float(ratio.values[fine][0] / rates[fine][0]) if fine.any() else 0.0
