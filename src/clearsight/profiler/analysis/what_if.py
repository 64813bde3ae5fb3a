"""Estimates of the speed of training with other settings, from the measurements of a run without trying them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.context import RunContext
from clearsight.core.profile import Floats, Machine, Profile
from clearsight.profiler.analysis.loader_cost import idle_cores, loader_cost, more_loader_workers
from clearsight.profiler.analysis.timed_steps import MIN_STEPS, TimedSteps, timed_steps

_MIN_GAIN = 0.01  # share of the speed; smaller gains are within the noise of any measurement
# Lower ends of the measured ranges, because an estimate should not promise more than a trial then shows.
_CHANNELS_LAST = 1.1  # to 1.35 times as fast: convolutions in channels-last layout, over several networks
_HALF_PRECISION = 1.5  # to 3 times as fast: matrix units of GPUs. On CPUs 0.5 to 1.57, so no estimate is possible there
MAX_MEMORY_FOR_TWICE = 45.0  # per cent of a GPU's memory in use that leaves room for twice the batch
_COMPUTING = ("forward", "backward")
_SLOWEST = 0.01  # share of the steps that is left out: one long pause would shift the means
_FASTEST = 10  # percentile
_MIN_SMALLER = 3  # steps of a smaller batch size, at least, because one may be slow by chance
_MAX_SMALLER = 0.9  # of a full batch: a line through nearly equal sizes has no meaning
_SIZE_INDEPENDENT = ("optimizer", "hook")  # phases that work on parameters, whose number no batch changes


@dataclass(frozen=True, kw_only=True, slots=True)
class WhatIf:
    """A change of settings and its estimated gain.

    name: in words.  change: recipe fields and their new values, {} if no field does it.  seconds_now, seconds_then: of
    a step.  basis: one sentence on the method and the assumptions of the estimate.  bound: True if the estimate is an
    upper bound; the real gain lies between nothing and it.
    """

    name: str
    change: Mapping[str, Any]
    seconds_now: float
    seconds_then: float
    images_per_second_now: float
    images_per_second_then: float
    basis: str
    bound: bool = False

    @property
    def gain(self) -> float:
        """Images per second then over now, less 1."""
        return self.images_per_second_then / self.images_per_second_now - 1


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


def what_if(profile: Profile, context: RunContext | None = None) -> list[WhatIf]:
    """Return the changes that gain at least 1 %, the largest gain first; [] with fewer than 20 timed steps.

    Gains do not add up: each is estimated on its own. context: batch size and settings, as far as they are known.
    """
    known, machine = context or RunContext(), profile.machine
    step = step_model(profile, known.batch_size or machine.batch_size)
    if step is None or not step.seconds > 0:
        return []
    estimates = [
        *_loader_workers(step, profile),
        *_keep_pixels(step, machine, known),
        *_batch_size(step, profile),
        *_channels_last(step, machine),
        *_half_precision(step, profile),
        *_threads(step, machine),
        *_no_debugger(step),
    ]
    worthwhile = (estimate for estimate in estimates if estimate.gain >= _MIN_GAIN)
    return sorted(worthwhile, key=lambda estimate: (-estimate.gain, estimate.name))


def _estimate(
    step: StepModel, name: str, change: Mapping[str, Any], seconds: float, basis: str, *, bound: bool = False
) -> WhatIf:
    """Build an estimate for steps of as many images as now. seconds: of the changed step."""
    seconds = max(seconds, 1e-9)  # keeps the speed finite
    return WhatIf(
        name=name,
        change=dict(change),
        seconds_now=step.seconds,
        seconds_then=seconds,
        images_per_second_now=step.images / step.seconds,
        images_per_second_then=step.images / seconds,
        basis=basis,
        bound=bound,
    )


def _loader_workers(step: StepModel, profile: Profile) -> Iterator[WhatIf]:
    machine = profile.machine
    if not step.wait:
        return
    in_training_thread = machine.workers == 0 or machine.reading == "here"
    loading = step.loading or (step.wait if in_training_thread else None)
    more = more_loader_workers(machine, idle_cores(profile))
    if more and loading is not None:
        basis = (
            f"{more} loader workers make a batch in {_ms(loading / more)} while the network trains on the one before, "
            f"if every worker stays as fast as now"
        )
        seconds = max(step.work, loading / more)
        yield _estimate(step, f"{more} loader workers", {"workers": more}, seconds, basis, bound=True)
    if in_training_thread:  # it cannot load and train at the same time, so its wait cannot be removed alone
        return
    least = loading / max(1, machine.workers or 1) if loading is not None and machine.workers else 0.0
    limit = f"; the loader workers need {_ms(least)} per batch" if least else ""
    basis = f"the step without the {_ms(step.wait)} of waiting for its batch{limit}"
    yield _estimate(step, "no waiting for images", {}, max(step.work, least), basis, bound=True)


def _keep_pixels(step: StepModel, machine: Machine, known: RunContext) -> Iterator[WhatIf]:
    if known.settings.get("keep_pixels") is not False or not step.wait or machine.pixels_kept or step.loading is None:
        return
    after = step.augmenting / max(1, machine.workers or 1)
    # Workers load while the network trains; the training thread does one after the other.
    seconds = step.work + after if machine.workers == 0 else max(step.work, after)
    basis = "from the second epoch on, images are neither read nor decoded, if they fit into memory"
    yield _estimate(step, "decoded images kept in memory", {"keep_pixels": True}, seconds, basis, bound=True)


def _batch_size(step: StepModel, profile: Profile) -> Iterator[WhatIf]:
    room, memory = _room_for_twice(profile)
    if step.fixed is None or not room:
        return
    loading = (step.loading or 0.0) / max(1, profile.machine.workers or 1)
    sizes = step.batch_sizes
    source = f"measured on batches of {sizes} sizes" if sizes > 1 else "the work of optimizer and debugger"
    basis = (
        f"{_ms(step.fixed)} of a step do not depend on the batch size ({source}), and twice the images share them; "
        f"{memory}, and the learning rate may have to change"
    )
    change = {"batch_size": 2 * step.images}
    seconds = max(2 * step.seconds - step.fixed, 2 * loading)
    estimate = _estimate(step, "batches twice as large", change, seconds, basis)
    yield replace(estimate, images_per_second_then=2 * step.images / estimate.seconds_then)


def _room_for_twice(profile: Profile) -> tuple[bool, str]:
    """Return True if the memory has room for a batch of twice the size, with a clause that says how that is known."""
    if profile.machine.device == "cuda":
        used = profile.within(profile.gauge("gpu0.memory")).values
        if not len(used):
            return True, "whether it fits into the GPU's memory is unknown"
        return bool(used.max() <= MAX_MEMORY_FOR_TWICE), f"the GPU's memory was at most {used.max():.0f} % full"
    free = profile.within(profile.gauge("memory.available")).values
    job = profile.within(profile.gauge("tree.memory")).values
    # Tensors alone are the better measure: most of the job's memory, such as libraries, does not grow with the batch.
    peak = profile.trace.peak_bytes if profile.trace is not None else 0
    if not len(free) or not (peak or len(job)):
        return True, "whether it fits into memory is unknown"
    return bool((peak or job.max()) < free.min()), "memory has room for twice the present use"


def _channels_last(step: StepModel, machine: Machine) -> Iterator[WhatIf]:
    if machine.channels_last is False and (computing := step.of(*_COMPUTING)):
        basis = (
            f"forward and backward take {_ms(computing)} and would be {_CHANNELS_LAST} times as fast, the lower end of "
            f"what was measured on convolutional networks (1.1 to 1.35); other networks gain nothing"
        )
        saved = computing * (1 - 1 / _CHANNELS_LAST)
        yield _estimate(step, "channels last", {"channels_last": "on"}, step.seconds - saved, basis, bound=True)


def _half_precision(step: StepModel, profile: Profile) -> Iterator[WhatIf]:
    machine = profile.machine
    # Only the GPU's own clock tells how long it computes; the training thread hands work over and goes on.
    timed = any(name in times.device for times in profile.step_times for name in _COMPUTING)
    if machine.device == "cuda" and machine.precision == "fp32" and timed:
        computing = step.of(*_COMPUTING)
        basis = (
            f"forward and backward take the GPU {_ms(computing)} and would be {_HALF_PRECISION} times as fast, the "
            f"lower end of what matrix units for bf16 give (1.5 to 3); GPUs without them gain nothing"
        )
        saved = computing * (1 - 1 / _HALF_PRECISION)
        yield _estimate(step, "bf16 precision", {"precision": "bf16"}, step.seconds - saved, basis, bound=True)


def _threads(step: StepModel, machine: Machine) -> Iterator[WhatIf]:
    if machine.device == "cpu" and 0 < machine.cores < machine.threads:
        basis = (
            f"{machine.threads} threads compute on {machine.cores} cores; in the fastest tenth of the steps they delay "
            f"each other least, and every step would be as fast as these or faster"
        )
        seconds = step.fast + (step.wait or 0.0)
        yield _estimate(step, "one thread per core", {"threads": machine.cores}, min(step.seconds, seconds), basis)


def _no_debugger(step: StepModel) -> Iterator[WhatIf]:
    if hook := step.of("hook"):
        basis = f"the step without the {_ms(hook)} of the debugger"
        yield _estimate(step, "no debugger", {"debug": "off"}, step.seconds - hook, basis)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


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
