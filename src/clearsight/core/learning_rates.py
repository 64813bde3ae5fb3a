"""Learning rates that people start from: per optimizer, and for a new head that is trained alone."""

from __future__ import annotations

import math
from typing import Literal

Family = Literal["adaptive", "gradient", ""]

# Where people start with an optimizer of the family, whatever the network.
_USUAL: dict[Family, float] = {"adaptive": 1e-3, "gradient": 1e-2, "": 1e-3}
# The highest rate that trains some network or other well; nothing is too high for an optimizer that is not known.
_HIGHEST_USUAL: dict[Family, float] = {"adaptive": 1e-2, "gradient": 0.3, "": math.inf}

HIGHEST_RATE = 10.0  # that a recipe accepts

# A new head starts near zero, and Adam moves a weight by at most about the rate in a step: rate x steps bounds how far
# the head can get. 0.6 is enough for a head on pretrained features.
HEAD_REACH = 0.6
HEAD_RATES = (1e-3, 5e-3)  # from Adam's usual rate to what any head may still get, however few its steps


def optimizer_family(optimizer: str) -> Family:
    """Return the family of an optimizer by its name, as a recipe or a class spells it; "" where it is not known.

    adaptive: the size of an update follows from the rate alone, whatever the gradient's size (Adam and its kin).
    gradient: the update is the rate times the gradient (SGD).
    """
    name = optimizer.lower()
    if any(word in name for word in ("adam", "rmsprop", "lion", "adafactor", "lamb")):
        return "adaptive"
    return "gradient" if "sgd" in name else ""


def usual_rate(optimizer: str) -> float:
    """Return the peak learning rate that people start from with this optimizer."""
    return _USUAL[optimizer_family(optimizer)]


def highest_usual_rate(optimizer: str) -> float:
    """Return the highest learning rate that trains some network well; infinity for an unknown optimizer."""
    return _HIGHEST_USUAL[optimizer_family(optimizer)]


def head_rate(optimizer: str, steps: int) -> float:
    """Return the peak learning rate for a new head that is trained alone for so many optimizer steps.

    An adaptive optimizer moves a weight by about the rate in each step, whatever the gradient's size, so a run carries
    it no further than rate x steps (half of that under a cosine). At the usual rate few steps stop half-way: the rate
    is raised so that rate x steps is about 0.6, within [0.001, 0.005]. Other optimizers keep their usual rate.
    Source of the bound: Kingma & Ba 2015, "Adam", section 2.1.
    """
    if optimizer_family(optimizer) != "adaptive":
        return usual_rate(optimizer)
    low, high = HEAD_RATES
    return min(high, max(low, HEAD_REACH / max(steps, 1)))


def rounded_head_rate(optimizer: str, steps: int) -> float:
    """Return `head_rate` to two digits: more would suggest precision."""
    return float(f"{head_rate(optimizer, steps):.2g}")
