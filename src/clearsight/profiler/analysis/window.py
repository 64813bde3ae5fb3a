"""Window: what a rule about speed looks at, the newest looks at the machine while training steps ran, as columns.

T looks, S timed steps. Looks before the first step, during validation and while a checkpoint is written say nothing of
how training goes, and are left out; so is the time between the end of a run and its continuation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Series
from clearsight.core.profile import Floats, Ints, Profile
from clearsight.core.view import RunView

LEAST = 20  # looks or steps before anything is said
MOST = 500  # looks that are looked at, where nothing else is asked for; SageMaker's window
WARM_UP = 3  # steps at the start of a run in which memory is taken and kernels are chosen
WAITS = 0.15  # share of a run's step time from which on waiting for batches is what is wrong
UNUSED = 1.0  # per cent of a GPU at its busiest, up to which this job does not use it
FULL = 90.0  # per cent of the cores from which on no more work fits

_PATIENCE = 0.2  # share of the planned run that is waited for
_MOST_PATIENCE = 1000  # looks; SageMaker's patience


@dataclass(frozen=True, slots=True)
class Window:
    """Gauges that were read together: times (T,) seconds, steps (T,) that ran, and values (T,) by name, all finite.

    have, wanted: looks that there are, older ones included, and that there must be before a rule speaks.
    """

    times: Floats
    steps: Ints
    values: dict[str, Floats]
    have: int = 0
    wanted: int = LEAST

    def __len__(self) -> int:
        return len(self.times)

    @property
    def enough(self) -> bool:
        """Whether there are as many looks as there must be."""
        return self.have >= max(self.wanted, 1)

    @property
    def span(self) -> tuple[int, int]:
        """First and last step that it covers; not of an empty window."""
        return int(self.steps[0]), int(self.steps[-1])

    def percentile(self, name: str, share: float) -> float:
        """A gauge's percentile, share in [0, 100]."""
        return float(np.percentile(self.values[name], share))

    def mean(self, names: Sequence[str]) -> Floats:
        """The mean over several gauges at each look, (T,)."""
        return np.asarray(np.mean([self.values[name] for name in names], axis=0), np.float64)

    def series(self, *names: str) -> tuple[Series, ...]:
        """Gauges over the steps that ran, as evidence."""
        return tuple(Series.of(name, self.steps, self.values[name]) for name in names)


def window(
    view: RunView, names: Sequence[str], *, length: int | None = None, patience: int | None = None, rank: int = 0
) -> Window:
    """The newest `length` looks during training at which all of `names` were read.

    length: MOST where left out.  patience: looks there must be; where left out a fifth of those that the planned run
    will take, between LEAST and SageMaker's 1,000, and LEAST once the run is over.
    """
    looks = [
        look
        for look in view.profile.looks
        if look.rank == rank and all(math.isfinite(look.values.get(name, math.nan)) for name in names)
    ]
    times = np.array([look.time for look in looks], np.float64)
    kept, steps = _training(view.profile, times, rank)
    chosen = kept[-(length or MOST) :]
    columns = {name: np.array([looks[i].values[name] for i in chosen], np.float64) for name in names}
    wanted = _wanted(view, len(kept)) if patience is None else patience
    return Window(times[chosen], steps[-(length or MOST) :], columns, len(kept), wanted)


def waited(profile: Profile, rank: int = 0) -> Floats:
    """Share of each step that passed in waiting for its batch and moving it to the device, (S,); NaN: not timed."""
    seconds = profile.steps(rank).seconds
    moving = np.nan_to_num(profile.phase("transfer", rank))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.clip((profile.phase("data", rank) + moving) / seconds, 0, 1), np.float64)


def waiting(profile: Profile, rank: int = 0) -> float | None:
    """Share of all step time after the warm-up that passed in waiting for batches; None where it was not timed."""
    seconds, shares = profile.steps(rank).seconds[WARM_UP:], waited(profile, rank)[WARM_UP:]
    known = np.isfinite(shares) & (seconds > 0)
    return float((shares[known] * seconds[known]).sum() / seconds[known].sum()) if known.any() else None


def others(view: RunView, *, length: int | None = None) -> float:
    """Per cent of the cores that other processes take, median, where these leave none idle at the busiest; else 0."""
    looks = window(view, ("cpu", "tree.cpu"), length=length)
    if not len(looks) or looks.percentile("cpu", 95) < FULL:
        return 0.0
    return max(0.0, float(np.median(looks.values["cpu"] - looks.values["tree.cpu"])))


def gpus(profile: Profile, rank: int = 0) -> tuple[str, ...]:
    """The gauges of the GPUs, gpu0, gpu1, ...; () without any."""
    return tuple(name for name in profile.devices(rank) if name.startswith("gpu"))


def in_use(profile: Profile, rank: int = 0) -> tuple[str, ...]:
    """The GPUs that did anything during training; all of them where none did."""
    there = gpus(profile, rank)
    read = {name: profile.within(profile.gauge(name, rank), rank).values for name in there}
    return tuple(name for name, values in read.items() if len(values) and _busiest(values) > UNUSED) or there


def _training(profile: Profile, times: Floats, rank: int) -> tuple[Ints, Ints]:
    """Of some times the places of those at which a step ran, and which steps that were."""
    table = profile.steps(rank)
    if not len(table) or not len(times):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    step = np.searchsorted(table.starts, times, side="right") - 1
    ends = table.starts + table.seconds
    ran = (step >= 0) & (times <= ends[step] + np.median(table.seconds)) & (times <= ends[-1])
    for span in profile.stretches:
        if span.rank == rank and span.name != "initialisation":
            ran &= ~((times >= span.start) & (times < span.start + span.seconds))
    return np.flatnonzero(ran), table.steps[step[ran]]


def _busiest(values: Floats) -> float:
    return float(np.percentile(values, 95))


def _wanted(view: RunView, looks: int) -> int:
    table = view.profile.steps()
    if view.ended or not len(table):
        return LEAST
    whole = looks * max(view.facts.steps, 0) / max(int(table.steps[-1]), 1)
    return int(np.clip(round(_PATIENCE * whole), LEAST, _MOST_PATIENCE))
