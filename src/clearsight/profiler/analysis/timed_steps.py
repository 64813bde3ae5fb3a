"""TimedSteps: training steps of a profile after the warm-up, and the selection of those that a verdict uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.profile import Floats, Ints, Profile, StepTable

WARM_UP = 3  # steps at the start of a run: memory is allocated, kernels are chosen, loader workers fill their queues
# Twenty fast steps take a fraction of a second, in which a single pause would decide; so seconds are required too.
MIN_STEPS, MIN_SECONDS = 20, 5.0
_FULL_EPOCH = 0.9  # of the steps of the longest epoch; the last epoch of a run under way has fewer
_DROPPED = 0.01  # share of the steps with the longest waits that do not count; at least one step


@dataclass(frozen=True, slots=True, eq=False)
class TimedSteps:
    """A selection of the timed steps of rank 0. rows: (S,) int64 indices into `table`, ascending."""

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
        """Epoch of each step, (S,)."""
        return self.table.epochs[self.rows]

    @property
    def seconds(self) -> Floats:
        """Duration of each step, (S,), all above 0."""
        return self.table.seconds[self.rows]

    @property
    def images(self) -> Ints:
        """Images of each step, (S,)."""
        return self.table.samples[self.rows]

    @property
    def step_range(self) -> tuple[int, int]:
        """First and last step; (0, 0) if there is none."""
        return (int(self.steps[0]), int(self.steps[-1])) if len(self) else (0, 0)

    def select(self, mask: npt.NDArray[np.bool_]) -> TimedSteps:
        """Return the steps where the mask (S,) is True."""
        return TimedSteps(self.profile, self.table, self.rows[mask])

    def phase(self, name: str) -> Floats:
        """Return the seconds in a phase on the training thread, (S,), NaN if it was not timed."""
        return self.profile.phase(name)[self.rows]

    def device_phase(self, name: str) -> Floats:
        """Return the seconds in a phase by the GPU's own clock, else by that of the training thread, (S,)."""
        by_device = self.profile.phase(name, device=True)[self.rows]
        return np.where(np.isfinite(by_device), by_device, self.phase(name))

    def load(self, part: str) -> Floats:
        """Return the seconds of loader workers in a part, (S,), NaN if unknown."""
        return self.profile.load(part)[self.rows]

    def wait_seconds(self) -> Floats:
        """Return the seconds that the network waited for its batch and for the transfer of it, (S,), NaN if not timed.

        By the GPU's clock if there is one: a batch that comes late while the GPU still computes costs nothing.
        """
        both = np.stack([self.device_phase("data"), self.device_phase("transfer")])
        known = np.isfinite(both).any(axis=0)
        return np.where(known, np.clip(np.nansum(both, axis=0), 0, self.seconds), np.nan)

    def first_of_epoch(self) -> npt.NDArray[np.bool_]:
        """Return True for each step that is the first of its epoch, (S,)."""
        # From the whole table: in a selection the first step that is left of an epoch is not always its first.
        before = np.concatenate([[-1], self.table.epochs[:-1]])
        return np.asarray(self.table.epochs != before, bool)[self.rows]

    def shortfall(self) -> dict[str, Any]:
        """Return what is missing for a verdict, as arguments of `Rule.not_enough_data`; {} if there is enough."""
        if len(self) < MIN_STEPS:
            return {"have": len(self), "want": MIN_STEPS}
        if (total := float(self.seconds.sum())) < MIN_SECONDS:
            return {"have": int(total), "want": int(MIN_SECONDS), "of": "seconds of training"}
        return {}

    def recent(self) -> TimedSteps:
        """Return the last full epoch, or as many of the last full ones as suffice, but never the first epoch.

        In the first epoch images are decoded that may be kept in memory afterwards, so it says nothing about the rest
        of the run. Return all steps if those after the first epoch do not suffice.
        """
        numbers, counts = np.unique(self.epochs, return_counts=True)
        full = numbers[(counts >= _FULL_EPOCH * counts.max(initial=0)) & (numbers > numbers.min(initial=2**62))]
        for first in full[::-1]:
            if not (last := self.select((self.epochs >= first) & (self.epochs <= full[-1]))).shortfall():
                return last
        after = self.select(self.epochs > numbers.min(initial=2**62))
        return self if after.shortfall() else after

    def includes_first_epoch(self) -> bool:
        """Return True if any of these steps belongs to the first epoch that was timed."""
        return bool(len(self)) and int(self.epochs[0]) == int(self.table.epochs[0])

    def wait_share(self) -> float:
        """Return the share of the time that is spent on `wait_seconds`, in [0, 1]; NaN if that was not timed.

        The hundredth that waited longest, at least one step, does not count: a single pause decides nothing. The first
        steps of epochs do: their wait comes again with every epoch.
        """
        first = self.first_of_epoch()
        waits = np.where(first, -1.0, np.nan_to_num(self.wait_seconds()))
        keep = np.ones(len(self), bool)
        keep[np.argsort(waits, kind="stable")[len(self) - max(1, int(_DROPPED * len(self))) :]] = False
        usual = self.select(keep | first)
        waits = usual.wait_seconds()
        known = np.isfinite(waits)
        return float(waits[known].sum() / usual.seconds[known].sum()) if known.any() else float("nan")


def timed_steps(profile: Profile) -> TimedSteps:
    """Return the steps of a profile without the warm-up and without durations that no clock can have measured."""
    table = profile.steps()
    rows = np.arange(len(table), dtype=np.int64)
    with np.errstate(invalid="ignore"):  # comparisons with NaN
        return TimedSteps(profile, table, rows[(rows >= WARM_UP) & np.isfinite(table.seconds) & (table.seconds > 0)])


def steps_done(profile: Profile, times: Floats) -> Floats:
    """Return the training steps done at some times (T,), with fractions; NaN if no step was timed."""
    table = profile.steps()
    ends = table.starts + table.seconds
    known = np.isfinite(ends)
    if not known.any():
        return np.full(len(times), np.nan)
    # np.interp needs ascending times, and the system clock may be set back during a run.
    done = np.interp(times, np.maximum.accumulate(ends[known]), table.steps[known].astype(float))
    return np.asarray(done, np.float64)
