"""Ties: the trials of a study that its validation images cannot tell from the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clearsight.core.format import count, several
from clearsight.core.statistics import wilson
from clearsight.core.trial import Objective, Trial, best_trial, complete_trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Ties:
    """Accuracy of the best trial on N validation images, with its 95 % interval, and the trials in that interval.

    trials: number of trials whose accuracy was compared, the best one included.  equal, within: how many others have
    the same accuracy, and an accuracy in the interval (the equal ones included).
    """

    images: int
    low: float
    high: float
    trials: int
    equal: int
    within: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def ties(trials: Sequence[Trial], objective: Objective, images: int) -> Ties | None:
    """Return the ties of a study whose trials were compared on `images` validation images.

    None unless the objective is the accuracy: no interval of another score follows from the score alone. The interval
    is that of one proportion. What each trial predicted for each image is not kept, so no paired test can be made.
    """
    best = best_trial(trials, objective)
    if best is None or objective.metric != "accuracy" or not images:
        return None
    # A trial with the recipe of an earlier one has its result: it is not another trial to choose.
    values = [t.values[0] for t in complete_trials(trials) if t.same_as is None and t.number != _trained(best)]
    value = best.values[0]
    low, high = wilson(round(value * images), images)
    return Ties(
        images=images,
        low=low,
        high=high,
        trials=len(values) + 1,
        equal=sum(other == value for other in values),
        within=sum(low <= other <= high for other in values),
    )


def ties_text(ties: Mapping[str, Any]) -> str:
    """Return one sentence about the ties, without a full stop; "" where no other trial is in the interval."""
    if not ties or not ties["within"]:
        return ""
    others = f"{count(ties['within'])} of {several(ties['trials'] - 1, 'other trial')}"
    span = f"95 % interval {ties['low']:.3f} to {ties['high']:.3f}"
    text = f"{several(ties['images'], 'validation image')} cannot tell {others} from the best ({span})"
    if ties["equal"]:
        text += f"; of {several(ties['equal'] + 1, 'trial')} with equal accuracy it has the lowest loss"
    return text


def _trained(trial: Trial) -> int:
    """Return the number of the trial that was trained for this one's result."""
    return trial.number if trial.same_as is None else trial.same_as
