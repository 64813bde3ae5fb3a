"""TimedSteps: the training steps of a profile behind the warm-up, and those of them that a verdict should rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.profile import Floats, Ints, Profile, StepTable

WARM_UP = 3  # steps: memory is allocated, kernels are chosen, readers fill their queues
LEAST_STEPS, LEAST_SECONDS = 20, 5.0
_FULL = 0.9  # of the steps of the longest epoch
_HICCUPS = 0.01  # of the steps; at least one


@dataclass(frozen=True, slots=True, eq=False)
class TimedSteps:
    """Some of the timed steps of rank 0. rows: (S,) int64 places in `table`, ascending."""

    profile: Profile
    table: StepTable
    rows: Ints

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def steps(self) -> Ints:
        """Step numbers, (S,)."""
        return self.table.steps[self.rows]

    @property
    def epochs(self) -> Ints:
        """The epoch of each, (S,)."""
        return self.table.epochs[self.rows]

    @property
    def seconds(self) -> Floats:
        """How long each took, (S,), all above 0."""
        return self.table.seconds[self.rows]

    @property
    def samples(self) -> Ints:
        """Images of each, (S,)."""
        return self.table.samples[self.rows]

    @property
    def ends(self) -> tuple[int, int]:
        """First and last step; (0, 0) where there is none."""
        return (int(self.steps[0]), int(self.steps[-1])) if len(self) else (0, 0)

    def chosen(self, mask: npt.NDArray[np.bool_]) -> TimedSteps:
        """Those where the mask (S,) is True."""
        return TimedSteps(self.profile, self.table, self.rows[mask])

    def phase(self, name: str) -> Floats:
        """Seconds in a phase on the training thread, (S,), NaN where it was not timed."""
        return self.profile.phase(name)[self.rows]

    def on_device(self, name: str) -> Floats:
        """Seconds in a phase by the GPU's own clock, else by that of the training thread, (S,)."""
        own = self.profile.phase(name, device=True)[self.rows]
        return np.where(np.isfinite(own), own, self.phase(name))

    def load(self, part: str) -> Floats:
        """What the readers spent on a part, (S,), NaN where that is not known."""
        return self.profile.load(part)[self.rows]

    def waits(self) -> Floats:
        """Seconds that the network waited for its batch and for its way to the device, (S,), NaN where not timed.

        By the GPU's clock where there is one: a batch that comes late while the GPU still computes costs nothing.
        """
        both = np.stack([self.on_device("data"), self.on_device("transfer")])
        known = np.isfinite(both).any(axis=0)
        return np.where(known, np.clip(np.nansum(both, axis=0), 0, self.seconds), np.nan)

    def openings(self) -> npt.NDArray[np.bool_]:
        """Which are the first of their epoch, (S,)."""
        before = np.concatenate([[-1], self.table.epochs[:-1]])
        return np.asarray(self.table.epochs != before, bool)[self.rows]

    def shortfall(self) -> dict[str, Any]:
        """What is missing for a verdict, as `Rule.not_enough_data` takes it; {} where there is enough."""
        if len(self) < LEAST_STEPS:
            return {"have": len(self), "want": LEAST_STEPS}
        if (lasted := float(self.seconds.sum())) < LEAST_SECONDS:
            return {"have": int(lasted), "want": int(LEAST_SECONDS), "of": "seconds of training"}
        return {}

    def recent(self) -> TimedSteps:
        """The last full epoch, or as many of the last full ones as make up enough, but never the first epoch.

        In the first epoch images are decoded that may be kept afterwards. All steps where there is not enough after
        it.
        """
        numbers, counts = np.unique(self.epochs, return_counts=True)
        later = numbers[(counts >= _FULL * counts.max(initial=0)) & (numbers > numbers.min(initial=2**62))]
        for first in later[::-1]:
            if not (last := self.chosen((self.epochs >= first) & (self.epochs <= later[-1]))).shortfall():
                return last
        after = self.chosen(self.epochs > numbers.min(initial=2**62))
        return self if after.shortfall() else after

    def holds_first_epoch(self) -> bool:
        """Whether any of these steps is of the first epoch that was timed."""
        return bool(len(self)) and int(self.epochs[0]) == int(self.table.epochs[0])

    def without_hiccups(self) -> TimedSteps:
        """Without the hundredth that waited longest, one at the least: a single hiccup decides nothing.

        The first steps of epochs stay: what they wait for comes again with every epoch.
        """
        waits = np.where(self.openings(), -1.0, np.nan_to_num(self.waits()))
        keep = np.ones(len(self), bool)
        keep[np.argsort(waits, kind="stable")[len(self) - max(1, int(_HICCUPS * len(self))) :]] = False
        return self.chosen(keep | self.openings())

    def wait_share(self) -> float:
        """Share of the time that goes into `waits`, in [0, 1]; NaN where that was not timed."""
        kept = self.without_hiccups()
        waits = kept.waits()
        known = np.isfinite(waits)
        return float(waits[known].sum() / kept.seconds[known].sum()) if known.any() else float("nan")


def timed_steps(profile: Profile) -> TimedSteps:
    """The steps of a profile without the first three, and without those that no clock can have measured."""
    table = profile.steps()
    rows = np.arange(len(table), dtype=np.int64)
    with np.errstate(invalid="ignore"):
        return TimedSteps(profile, table, rows[(rows >= WARM_UP) & np.isfinite(table.seconds) & (table.seconds > 0)])


def steps_done(profile: Profile, times: Floats) -> Floats:
    """How many training steps were done at some times (T,), with fractions; NaN where no step was timed."""
    table = profile.steps()
    ends = table.starts + table.seconds
    known = np.isfinite(ends)
    if not known.any():
        return np.full(len(times), np.nan)
    done = np.interp(times, np.maximum.accumulate(ends[known]), table.steps[known].astype(float))
    return np.asarray(done, np.float64)
