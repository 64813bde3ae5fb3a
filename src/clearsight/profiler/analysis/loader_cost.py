"""LoaderCost: the time that the loader workers of a run spend on its batches, and whether more workers would fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clearsight.core.profile import LOAD_PARTS, Machine, Profile
from clearsight.profiler.analysis.timed_steps import TimedSteps

# Idle cores that more loader workers need: half a core, and on more than five cores a tenth of them. With fewer, new
# workers would only take time from the present ones.
_MIN_IDLE_CORES = 0.5
_MIN_IDLE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class LoaderCost:
    """Work of all loader workers together over some steps.

    parts: seconds by name, of LOAD_PARTS, {} if unknown.  images, bytes: made and read, NaN if unknown.
    busy: mean number of workers at work, NaN if unknown.
    """

    parts: Mapping[str, float]
    images: float
    bytes: float
    busy: float

    @property
    def seconds(self) -> float:
        """Seconds of all parts."""
        return sum(self.parts.values())

    @property
    def costliest(self) -> str:
        """The part that takes most time; "" if nothing is known."""
        return max(self.parts, key=lambda name: self.parts[name], default="") if self.seconds > 0 else ""

    def share(self, part: str) -> float:
        """Return the share of a part in the time of all parts, in [0, 1]; 0 if nothing is known."""
        return self.parts.get(part, 0.0) / self.seconds if self.seconds > 0 else 0.0


def loader_cost(steps: TimedSteps) -> LoaderCost:
    """Return the work of the loader workers for these steps."""
    columns = {part: steps.load(part) for part in LOAD_PARTS}
    parts = {part: float(np.nansum(column)) for part, column in columns.items() if np.isfinite(column).any()}
    known = np.isfinite(np.stack(list(columns.values()))).any(axis=0)
    # Only steps with known work count here, else workers would look idler than they are.
    wall = float(steps.seconds[known].sum())
    return LoaderCost(
        parts=parts,
        images=_total(steps, "images"),
        bytes=_total(steps, "bytes"),
        busy=sum(parts.values()) / wall if wall > 0 else float("nan"),
    )


def idle_cores(profile: Profile) -> float:
    """Return the number of idle cores while steps ran, median over samples; NaN if not sampled."""
    samples = profile.within(profile.gauge("cpu"))
    if not len(samples) or not profile.machine.cores:
        return float("nan")
    return profile.machine.cores * (1 - min(100.0, max(0.0, float(np.median(samples.values)))) / 100)


def more_loader_workers(machine: Machine, idle: float) -> int | None:
    """Return a larger number of loader workers that is worth a try; None if more would find no core.

    One per core if the training thread loads by itself, else twice as many as now, never more than cores.
    idle: idle cores; NaN (unknown) counts as enough.
    """
    if machine.workers is None or not machine.cores:
        return None
    room = not idle < max(_MIN_IDLE_CORES, _MIN_IDLE_SHARE * machine.cores)  # "not <" is True for NaN
    if machine.workers == 0:  # the other cores idle while the training thread loads, unless there is only one core
        return machine.cores if machine.cores > 1 or machine.device != "cpu" else None
    more = min(machine.cores, 2 * machine.workers)
    return more if room and more > machine.workers else None


def _total(steps: TimedSteps, name: str) -> float:
    column = steps.load(name)
    return float(np.nansum(column)) if np.isfinite(column).any() else float("nan")
