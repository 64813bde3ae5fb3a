"""StepModel: the parts of a typical training step, from which `what_if` estimates its duration with other settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clearsight.core.profile import Floats, Profile
from clearsight.profiler.analysis.loader_cost import loader_cost
from clearsight.profiler.analysis.timed_steps import MIN_STEPS, TimedSteps, timed_steps

_SLOWEST = 0.01  # share of the steps that is left out: one long pause would shift the means
_FASTEST = 10  # percentile
_MIN_SMALLER = 3  # steps of a smaller batch size, at least, because one may be slow by chance
_MAX_SMALLER = 0.9  # of a full batch: a line through nearly equal sizes has no meaning
_SIZE_INDEPENDENT = ("optimizer", "hook")  # phases that work on parameters, whose number no batch changes


@dataclass(frozen=True, slots=True)
class StepModel:
    """A step with a full batch, in seconds: means without the slowest hundredth, so that the parts add up.

    images: of the batch.  wait: for the batch.  phases: by name, by the GPU's clock if it was read.
    loading: time of all loader workers together per batch; augmenting: the part of it that decoded images need too.
    fixed: part of the step that does not depend on the batch size.  batch_sizes: number of batch sizes that `fixed` was
    measured from; 1 if it is the sum of the phases that cannot depend on it.
    fast: a step of the fastest tenth, without waiting.  None: unknown.
    """

    images: int
    seconds: float
    wait: float | None
    phases: Mapping[str, float]
    loading: float | None
    augmenting: float
    fixed: float | None
    batch_sizes: int
    fast: float

    @property
    def work(self) -> float:
        """Seconds without the wait for the batch."""
        return self.seconds - (self.wait or 0.0)

    def of(self, *names: str) -> float:
        """Return the seconds in some phases together, 0 for those that were not timed."""
        return sum(self.phases.get(name, 0.0) for name in names)


def step_model(profile: Profile, batch_size: int = 0) -> StepModel | None:
    """Return the typical step; None with fewer than 20 timed steps or if images were not counted.

    batch_size: replaces an unknown number of images per step.
    """
    measured = timed_steps(profile)
    if len(measured) < MIN_STEPS:
        return None
    full = int(np.median(measured.images)) or batch_size
    recent = measured.recent()
    recent = recent.select(recent.images == np.median(measured.images))  # without the smaller last batches of epochs
    if full <= 0 or not len(recent):
        return None
    typical = recent.select(_without_slowest(recent.seconds))
    cost = loader_cost(typical)
    rest = typical.seconds - np.nan_to_num(typical.device_phase("data"))
    means = {name: _mean(typical.device_phase(name), typical.seconds) for name in profile.phases()}
    fixed, batch_sizes = _fixed(measured, full)
    return StepModel(
        images=full,
        seconds=float(typical.seconds.mean()),
        wait=_mean(typical.device_phase("data"), typical.seconds),
        phases={name: seconds for name, seconds in means.items() if seconds is not None},
        loading=cost.seconds / len(typical) if cost.parts else None,
        augmenting=sum(cost.parts.get(part, 0.0) for part in ("augment", "collate")) / len(typical),
        fixed=fixed,
        batch_sizes=batch_sizes,
        fast=float(np.percentile(rest, _FASTEST)),
    )


def _without_slowest(seconds: Floats) -> npt.NDArray[np.bool_]:
    """Return True for all but the slowest hundredth of the steps, at least one; (S,)."""
    keep = np.ones(len(seconds), bool)
    if len(seconds) > 1:
        keep[np.argsort(seconds, kind="stable")[-max(1, int(_SLOWEST * len(seconds))) :]] = False
    return keep


def _mean(phase: Floats, seconds: Floats) -> float | None:
    """Return the mean of a phase over the steps in which it was timed, never more than a step took."""
    known = np.isfinite(phase)
    return float(np.clip(phase, 0, seconds)[known].mean()) if known.any() else None


def _fixed(measured: TimedSteps, full: int) -> tuple[float | None, int]:
    """Return the seconds of a step that do not depend on its batch size, and the number of sizes they come from.

    The last batches of epochs are smaller. So lay a line through the median steps of the full size and of each smaller
    one, and take the median slope. With one size alone, add up the phases that cannot depend on it.
    """
    rest = measured.seconds - np.nan_to_num(measured.wait_seconds())
    usual = float(np.median(rest))
    smaller = [
        size
        for size in np.unique(measured.images)
        if 0 < size <= _MAX_SMALLER * full and (measured.images == size).sum() >= _MIN_SMALLER
    ]
    whole = measured.images == full
    if smaller and whole.any():
        level = float(np.median(rest[whole]))
        slopes = [(level - float(np.median(rest[measured.images == size]))) / (full - size) for size in smaller]
        return float(np.clip(level - np.median(slopes) * full, 0, level)), 1 + len(smaller)
    means = [_mean(measured.device_phase(name), measured.seconds) for name in _SIZE_INDEPENDENT]
    timed = [seconds for seconds in means if seconds is not None]
    return (min(usual, sum(timed)) if timed else None), 1
