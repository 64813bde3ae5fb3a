"""StepModel: what a training step of a profile is made of, for estimates of what it would take otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clearsight.core.profile import Floats, Profile
from clearsight.profiler.analysis.loader_cost import loader_cost
from clearsight.profiler.analysis.timed_steps import LEAST_STEPS, TimedSteps, timed_steps

_SLOWEST = 0.01  # of the steps, left out
_QUICK = 10  # percentile
_OF_A_SIZE = 3  # steps with smaller batches, at the least
_SMALLER = 0.9  # of a full batch, at most
_REGARDLESS = ("optimizer", "hook")  # phases that do not depend on how many images there are


@dataclass(frozen=True, slots=True)
class StepModel:
    """A step with a full batch, in seconds: means without the slowest hundredth, so that the parts add up.

    samples: images.  data: waiting for the batch.  phases: by name, by the GPU's clock where it was read.
    making: what readers spend on a batch, all together; dressing: of that, what decoded images need too.
    fixed: what does not depend on the size of the batch.  sizes: how many sizes of batches say so; 1 where only the
    phases that cannot depend on it do.
    quick: a step of the fastest tenth, without waiting.  None: not known.
    """

    samples: int
    seconds: float
    data: float | None
    phases: Mapping[str, float]
    making: float | None
    dressing: float
    fixed: float | None
    sizes: int
    quick: float

    @property
    def work(self) -> float:
        """What is left when nobody waits for a batch."""
        return self.seconds - (self.data or 0.0)

    def of(self, *names: str) -> float:
        """Seconds in some phases together, 0 for those that were not timed."""
        return sum(self.phases.get(name, 0.0) for name in names)


def step_model(profile: Profile, batch_size: int = 0) -> StepModel | None:
    """The typical step; None of fewer than 20 timed steps or where nobody counted images.

    batch_size: where steps do not say how many images they had.
    """
    every = timed_steps(profile)
    if len(every) < LEAST_STEPS:
        return None
    full = int(np.median(every.samples)) or batch_size
    recent = every.recent()
    recent = recent.chosen(recent.samples == np.median(every.samples))
    if full <= 0 or not len(recent):
        return None
    kept = recent.chosen(_without_slowest(recent.seconds))
    made = loader_cost(kept)
    rest = kept.seconds - np.nan_to_num(kept.on_device("data"))
    fixed, sizes = _fixed(every, full)
    return StepModel(
        samples=full,
        seconds=float(kept.seconds.mean()),
        data=_mean(kept.on_device("data"), kept.seconds),
        phases={
            name: spent for name in profile.phases() if (spent := _mean(kept.on_device(name), kept.seconds)) is not None
        },
        making=made.seconds / len(kept) if made.parts else None,
        dressing=sum(made.parts.get(part, 0.0) for part in ("augment", "collate")) / len(kept),
        fixed=fixed,
        sizes=sizes,
        quick=float(np.percentile(rest, _QUICK)),
    )


def _without_slowest(seconds: Floats) -> np.ndarray:
    """All but the slowest hundredth, one at the least; (S,) bool."""
    keep = np.ones(len(seconds), bool)
    if len(seconds) > 1:
        keep[np.argsort(seconds, kind="stable")[-max(1, int(_SLOWEST * len(seconds))) :]] = False
    return keep


def _mean(spent: Floats, seconds: Floats) -> float | None:
    """Of a phase over the steps in which it was timed, never more than a step took."""
    known = np.isfinite(spent)
    return float(np.clip(spent, 0, seconds)[known].mean()) if known.any() else None


def _fixed(every: TimedSteps, full: int) -> tuple[float | None, int]:
    """Seconds of a step that do not depend on its number of images, and how many sizes of batches tell so.

    A line through the median steps of a full and of each smaller size, the median line where there are several; the
    last batches of epochs are smaller. Else the phases that cannot depend on it.
    """
    rest = every.seconds - np.nan_to_num(every.waits())
    usual = float(np.median(rest))
    smaller = [
        size
        for size in np.unique(every.samples)
        if 0 < size <= _SMALLER * full and (every.samples == size).sum() >= _OF_A_SIZE
    ]
    whole = every.samples == full
    if smaller and whole.any():
        level = float(np.median(rest[whole]))
        slopes = [(level - float(np.median(rest[every.samples == size]))) / (full - size) for size in smaller]
        return float(np.clip(level - np.median(slopes) * full, 0, level)), 1 + len(smaller)
    spent = [_mean(every.on_device(name), every.seconds) for name in _REGARDLESS]
    timed = [one for one in spent if one is not None]
    return (min(usual, sum(timed)) if timed else None), 1
