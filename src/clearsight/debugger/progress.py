"""How far a run has come: where its loss began and is now, what its learning rate is at and was at most."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.view import RunView

_ENDS = 5  # values at either end of the loss that are taken together: one lucky batch decides nothing
_LOW = 0.25  # of the loss of guessing: from here on small gradients and small updates are success
_AWAKE = 0.1  # of the peak learning rate: below it little happens and little is meant to


@dataclass(frozen=True, slots=True)
class LossProgress:
    """start, recent: median training loss of the first and of the last values. chance: the loss of guessing among
    the classes, log C; NaN where they are not known."""

    start: float
    recent: float
    chance: float

    @property
    def reference(self) -> float:
        """The loss of knowing nothing: that of guessing, or of the start where the classes are not known."""
        return self.chance if math.isfinite(self.chance) else self.start

    @property
    def low(self) -> bool:
        """Whether the loss has come down so far that gradients near nothing are as it should be."""
        return self.recent < _LOW * self.reference


def loss_progress(view: RunView) -> LossProgress | None:
    """How far the loss has come; None where no finite loss was saved."""
    loss = view.scalar("loss").values
    loss = loss[np.isfinite(loss)]
    if not loss.size:
        return None
    ends = max(_ENDS, loss.size // 20)
    classes = len(view.facts.classes)
    chance = math.log(classes) if classes > 1 else math.nan
    return LossProgress(float(np.median(loss[:_ENDS])), float(np.median(loss[-ends:])), chance)


def peak_learning_rate(view: RunView) -> float:
    """The highest learning rate so far, or the planned one where none was saved; 0 where neither is known."""
    rates = view.scalar("lr").values
    rates = rates[np.isfinite(rates)]
    return float(rates.max()) if rates.size and rates.max() > 0 else float(view.facts.lr)


def above_low_rate(view: RunView, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of the saved `steps` (S,) ran at a tenth of the peak learning rate at least; all where none was saved.

    Warm-up and the end of a cosine leave weights where they are, as they should.
    """
    curve = view.scalar("lr")
    if not len(curve):
        return np.ones(len(steps), bool)
    at = np.clip(np.searchsorted(curve.steps, steps, side="right") - 1, 0, len(curve) - 1)
    rates, peak = curve.values[at], peak_learning_rate(view)
    return np.isfinite(rates) & (rates > 0) & (rates >= _AWAKE * peak)


def lower_rate_fix(view: RunView, factor: float = 10.0) -> dict[str, Any]:
    """The fix of a learning rate divided by `factor`, to two digits; {} where the rate is not known."""
    peak = float(view.facts.lr) or peak_learning_rate(view)
    return {"lr": float(f"{peak / factor:.1e}")} if peak > 0 else {}
