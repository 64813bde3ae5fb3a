"""Readers: who makes the batches of a run, what it costs them, and whether the machine has room for more of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clearsight.core.profile import LOAD_PARTS, Machine, Profile
from clearsight.profiler.analysis.timed_steps import TimedSteps

_IDLE_CORES = 0.5  # that another reader needs at the least
_IDLE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class LoaderCost:
    """What all readers together did for some steps.

    parts: seconds by name, of PARTS, {} where that is not known.  images, bytes: made and read, NaN where not known.
    busy: how many readers were at work on average, NaN where not known.
    """

    parts: Mapping[str, float]
    images: float
    bytes: float
    busy: float

    @property
    def seconds(self) -> float:
        """Of all parts."""
        return sum(self.parts.values())

    @property
    def dearest(self) -> str:
        """The part that costs most; "" where nothing is known."""
        return max(self.parts, key=lambda name: self.parts[name], default="") if self.seconds > 0 else ""

    def share(self, part: str) -> float:
        """Of a part in all that readers do, in [0, 1]; 0 where nothing is known."""
        return self.parts.get(part, 0.0) / self.seconds if self.seconds > 0 else 0.0


def loader_cost(steps: TimedSteps) -> LoaderCost:
    """What the readers did for these steps."""
    columns = {part: steps.load(part) for part in LOAD_PARTS}
    parts = {part: float(np.nansum(column)) for part, column in columns.items() if np.isfinite(column).any()}
    known = np.isfinite(np.stack(list(columns.values()))).any(axis=0)
    wall = float(steps.seconds[known].sum())
    return LoaderCost(
        parts=parts,
        images=_sum(steps, "images"),
        bytes=_sum(steps, "bytes"),
        busy=sum(parts.values()) / wall if wall > 0 else float("nan"),
    )


def idle_cores(profile: Profile) -> float:
    """Cores that had nothing to do while steps ran, by the median look; NaN where nobody looked."""
    looks = profile.within(profile.gauge("cpu"))
    if not len(looks) or not profile.machine.cores:
        return float("nan")
    return profile.machine.cores * (1 - min(100.0, max(0.0, float(np.median(looks.values)))) / 100)


def more_loader_workers(machine: Machine, idle: float) -> int | None:
    """How many readers are worth a try, None where more would find no core.

    One per core where the training thread reads itself, else twice as many as now, never more than cores. idle: cores
    without work; where that is not known (NaN) it is taken that there are some.
    """
    if machine.workers is None or not machine.cores:
        return None
    room = not idle < max(_IDLE_CORES, _IDLE_SHARE * machine.cores)
    if machine.workers == 0:  # the cores idle while the training thread reads, unless there is but one
        return machine.cores if machine.cores > 1 or machine.device != "cpu" else None
    more = min(machine.cores, 2 * machine.workers)
    return more if room and more > machine.workers else None


def _sum(steps: TimedSteps, name: str) -> float:
    column = steps.load(name)
    return float(np.nansum(column)) if np.isfinite(column).any() else float("nan")
