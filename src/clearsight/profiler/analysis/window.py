"""Window: the newest gauge samples of rank 0 that were taken while training steps ran. T samples, S timed steps.

Samples before the first step, during validation and while a checkpoint is written do not describe training and are left
out; so is the time between the end of a run and its continuation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clearsight.core.finding import Series
from clearsight.core.profile import Floats, Ints, Profile
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import WARM_UP

MIN_SAMPLES = 20  # before a verdict: ten seconds at the default rate of two samples a second
MAX_SAMPLES = 500  # in a window by default; SageMaker's window
HIGH_WAIT_SHARE = 0.15  # of a run's step time: above it, waiting for batches is what slows training down
UNUSED_GPU = 1.0  # per cent at the busiest samples: up to it, the job does not use the GPU
FULL_CORES = 90.0  # per cent of the cores: above it, no more work fits

_PLANNED_SHARE = 0.2  # of the samples of the planned run that must be there before a verdict
_MAX_REQUIRED = 1000  # samples; SageMaker's patience
_BUSIEST = 95  # percentile: a single busy sample says nothing


def patience_setting() -> Any:
    """Declare the parameter `patience` of a rule over gauge samples, for `sample_window`."""
    help_text = "samples before the first verdict [default: a fifth of the planned run, at least 20]"
    return setting(None, help_text, low=1, unit="samples")


@dataclass(frozen=True, slots=True)
class Window:
    """Gauges that were read together: times (T,) seconds, steps (T,) that ran, and values (T,) by name, all finite.

    available: samples during training, older ones included.  required: samples that a verdict needs.
    """

    times: Floats
    steps: Ints
    values: dict[str, Floats]
    available: int = 0
    required: int = MIN_SAMPLES

    def __len__(self) -> int:
        return len(self.times)

    @property
    def enough(self) -> bool:
        """Return True if there are as many samples as a verdict needs."""
        return self.available >= max(self.required, 1)

    @property
    def step_range(self) -> tuple[int, int]:
        """First and last step of the window; fails on an empty window."""
        return int(self.steps[0]), int(self.steps[-1])

    def percentile(self, name: str, percent: float) -> float:
        """Return a percentile of a gauge, percent in [0, 100]."""
        return float(np.percentile(self.values[name], percent))

    def series(self, *names: str) -> tuple[Series, ...]:
        """Return gauges over the steps that ran, as evidence."""
        return tuple(Series.of(name, self.steps, self.values[name]) for name in names)


def sample_window(
    view: RunView, names: Sequence[str], *, length: int | None = None, patience: int | None = None
) -> Window:
    """Return the newest `length` samples during training that hold all of `names`.

    length: MAX_SAMPLES by default.  patience: samples that a verdict needs; by default a fifth of those that the
    planned run will take, between MIN_SAMPLES and SageMaker's 1,000, and MIN_SAMPLES once the run is over.
    """
    samples = [
        sample
        for sample in view.profile.gauge_samples
        if sample.rank == 0 and all(math.isfinite(sample.values.get(name, math.nan)) for name in names)
    ]
    times = np.array([sample.time for sample in samples], np.float64)
    during, steps = _during_steps(view.profile, times)
    chosen = during[-(length or MAX_SAMPLES) :]
    columns = {name: np.array([samples[i].values[name] for i in chosen], np.float64) for name in names}
    required = _required(view, len(during)) if patience is None else patience
    return Window(times[chosen], steps[-(length or MAX_SAMPLES) :], columns, len(during), required)


def wait_shares(profile: Profile) -> Floats:
    """Return the share of each step that passed in waiting for its batch and its transfer, (S,); NaN if not timed."""
    seconds = profile.steps().seconds
    # On a CPU there is no transfer to time, but the wait for the batch still counts.
    transfer = np.nan_to_num(profile.phase("transfer"))
    with np.errstate(divide="ignore", invalid="ignore"):  # steps of 0 s, where the clock stood still
        return np.asarray(np.clip((profile.phase("data") + transfer) / seconds, 0, 1), np.float64)


def overall_wait_share(profile: Profile) -> float | None:
    """Return the share of all step time after the warm-up that passed in waiting for batches; None if not timed."""
    seconds, shares = profile.steps().seconds[WARM_UP:], wait_shares(profile)[WARM_UP:]
    known = np.isfinite(shares) & (seconds > 0)
    return float((shares[known] * seconds[known]).sum() / seconds[known].sum()) if known.any() else None


def use_by_other_processes(view: RunView, *, length: int | None = None) -> float:
    """Return the per cent of the cores that other processes occupy, median; 0 if cores are free even when busiest.

    Other processes slow training down only where they leave it no free core.
    """
    samples = sample_window(view, ("cpu", "tree.cpu"), length=length)
    if not len(samples) or samples.percentile("cpu", _BUSIEST) < FULL_CORES:
        return 0.0
    return max(0.0, float(np.median(samples.values["cpu"] - samples.values["tree.cpu"])))


def gpu_gauges(profile: Profile) -> tuple[str, ...]:
    """Return the gauges of the GPUs, gpu0, gpu1, ...; () without any."""
    return tuple(name for name in profile.devices() if name.startswith("gpu"))


def used_gpus(profile: Profile) -> tuple[str, ...]:
    """Return the GPUs that did anything during training; all of them if none did."""
    names = gpu_gauges(profile)
    during = {name: profile.within(profile.gauge(name)).values for name in names}
    used = (name for name, values in during.items() if len(values) and np.percentile(values, _BUSIEST) > UNUSED_GPU)
    return tuple(used) or names


def _during_steps(profile: Profile, times: Floats) -> tuple[Ints, Ints]:
    """Return the indices of the times at which a step ran, and which steps these were."""
    table = profile.steps()
    if not len(table) or not len(times):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    step = np.searchsorted(table.starts, times, side="right") - 1
    ends = table.starts + table.seconds
    # A loop does some work between two steps, so a gap of one usual step still belongs to training; a longer one is a
    # pause, such as that between a run and its continuation.
    ran = (step >= 0) & (times <= ends[step] + np.median(table.seconds)) & (times <= ends[-1])
    for span in profile.all_spans:
        if span.rank == 0 and span.name != "initialisation":  # it ends where the first step begins
            ran &= ~((times >= span.start) & (times < span.start + span.seconds))
    return np.flatnonzero(ran), table.steps[step[ran]]


def _required(view: RunView, samples: int) -> int:
    """Return the samples that a verdict needs: a fifth of those of the planned run, within its limits."""
    table = view.profile.steps()
    if view.ended or not len(table):
        return MIN_SAMPLES
    planned = samples * max(view.context.steps, 0) / max(int(table.steps[-1]), 1)
    return int(np.clip(round(_PLANNED_SHARE * planned), MIN_SAMPLES, _MAX_REQUIRED))
