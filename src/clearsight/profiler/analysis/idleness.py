"""Idleness: at which looks the device had nothing to do, for rules that ask what was busy instead.

With a GPU that is what its gauge says. Without one the processor is the device, and never idle while it prepares
images: there the training thread has nothing to do, which is when a step spends most of its time waiting for its
batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clearsight.core.view import RunView
from clearsight.profiler.analysis.window import Window, gpus, in_use, waited, window

_MOSTLY = 0.5  # share of a step from which on it mostly waited


@dataclass(frozen=True, slots=True)
class Idleness:
    """Looks during training with (T,) bool: whether the device was idle, and `how` it shows in words."""

    looks: Window
    idle: npt.NDArray[np.bool_]
    how: str
    gpus: tuple[str, ...]


def idleness(view: RunView, gauge: str, *, gpu_below: float, patience: int | None) -> Idleness:
    """Where the device was idle at the looks at which `gauge` was read; no looks where neither is known.

    gpu_below: per cent; the mean over the GPUs in use counts.
    """
    profile, every = view.profile, max(len(view.profile.looks), 1)
    if gpus(profile):
        used = in_use(profile)
        looks = window(view, (gauge, *used), length=every, patience=patience)
        who = "the GPU was" if len(used) == 1 else "the GPUs were"
        return Idleness(looks, looks.mean(used) < gpu_below, f"{who} below {gpu_below:.0f} %", used)
    looks = window(view, (gauge,), length=every, patience=patience)
    shares = dict(zip(profile.steps().steps.tolist(), waited(profile).tolist(), strict=True))
    share = np.array([shares[step] for step in looks.steps.tolist()], np.float64)
    known = np.isfinite(share)
    timed = Window(
        looks.times[known], looks.steps[known], {gauge: looks.values[gauge][known]}, int(known.sum()), looks.wanted
    )
    return Idleness(timed, share[known] > _MOSTLY, "the step spent over half of its time waiting for its batch", ())
