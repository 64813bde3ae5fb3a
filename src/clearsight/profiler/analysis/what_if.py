"""What-if: how fast training would be with other settings, estimated from what was measured, without trying them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clearsight.core.context import RunContext
from clearsight.core.profile import Machine, Profile
from clearsight.profiler.analysis.loader_cost import idle_cores, more_loader_workers
from clearsight.profiler.analysis.step_model import StepModel, step_model

_LEAST_GAIN = 0.01
_CHANNELS_LAST = 1.1  # to 1.35: convolutions that ran faster by channels last, over networks
_HALF_PRECISION = 1.5  # to 3: matrix units of GPUs; on CPUs 0.5 to 1.57, so that nothing can be promised there
_ROOM = 45.0  # per cent of a GPU's memory that leaves room for twice the batch
_COMPUTING = ("forward", "backward")


@dataclass(frozen=True, kw_only=True, slots=True)
class WhatIf:
    """A change of settings and what it is worth.

    name: in words.  change: recipe fields and their new values, {} where none does it.  seconds_now, seconds_then: of
    a step.  basis: one sentence on how it was estimated and what it takes for granted.  bound: at best; what is gained
    in truth lies between nothing and this.
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


def what_if(profile: Profile, facts: RunContext | None = None) -> list[WhatIf]:
    """Changes that are worth at least 1 %, the most first. [] of fewer than 20 timed steps.

    Gains do not add up: each is estimated on its own. facts: batch size and settings, as far as they are known.
    """
    known, machine = facts or RunContext(), profile.machine
    step = step_model(profile, known.batch_size or machine.batch_size)
    if step is None or not step.seconds > 0:
        return []
    estimates = [
        *_readers(step, profile),
        *_kept(step, machine, known),
        *_batch(step, profile),
        *_layout(step, machine),
        *_precision(step, profile),
        *_threads(step, machine),
        *_unwatched(step),
    ]
    return sorted((one for one in estimates if one.gain >= _LEAST_GAIN), key=lambda one: (-one.gain, one.name))


def _estimate(
    step: StepModel,
    name: str,
    change: Mapping[str, Any],
    then: float,
    basis: str,
    *,
    bound: bool = False,
    batches: int = 1,
) -> WhatIf:
    """batches: how many of now go into one step."""
    then = max(then, 1e-9)
    return WhatIf(
        name=name,
        change=dict(change),
        seconds_now=step.seconds,
        seconds_then=then,
        images_per_second_now=step.samples / step.seconds,
        images_per_second_then=batches * step.samples / then,
        basis=basis,
        bound=bound,
    )


def _readers(step: StepModel, profile: Profile) -> Iterator[WhatIf]:
    machine = profile.machine
    if not step.data:
        return
    here = machine.workers == 0 or machine.reading == "here"
    making = step.making or (step.data if here else None)
    more = more_loader_workers(machine, idle_cores(profile))
    if more and making is not None:
        basis = (
            f"{more} readers make a batch in {_ms(making / more)}, while the last one is trained on; every reader is "
            f"taken to be as fast as now"
        )
        yield _estimate(step, f"{more} readers", {"workers": more}, max(step.work, making / more), basis, bound=True)
    if here:
        return
    least = making / max(1, machine.workers or 1) if making is not None and machine.workers else 0.0
    floor = f"; its readers need {_ms(least)} for one" if least else ""
    basis = f"the {_ms(step.data)} of waiting for a batch are taken away{floor}"
    yield _estimate(step, "no waiting for images", {}, max(step.work, least), basis, bound=True)


def _kept(step: StepModel, machine: Machine, known: RunContext) -> Iterator[WhatIf]:
    if known.settings.get("keep_pixels") is not False or not step.data or machine.pixels_kept or step.making is None:
        return
    after = step.dressing / max(1, machine.workers or 1)
    then = step.work + after if machine.workers == 0 else max(step.work, after)
    basis = "from the second epoch on images are neither read nor decoded; they are taken to fit into memory"
    yield _estimate(step, "decoded images kept in memory", {"keep_pixels": True}, then, basis, bound=True)


def _batch(step: StepModel, profile: Profile) -> Iterator[WhatIf]:
    room, words = _room_for_twice(profile)
    if step.fixed is None or not room:
        return
    making = (step.making or 0.0) / max(1, profile.machine.workers or 1)
    how = (
        f"from batches of {step.sizes} sizes"
        if step.sizes > 1
        else "optimizer and debugger, whose work does not depend on it"
    )
    basis = (
        f"{_ms(step.fixed)} of a step are the same whatever the batch ({how}) and are shared by twice the images; "
        f"{words}, and the learning rate may have to follow"
    )
    change = {"batch_size": 2 * step.samples}
    then = max(2 * step.seconds - step.fixed, 2 * making)
    yield _estimate(step, "batches twice as large", change, then, basis, batches=2)


def _room_for_twice(profile: Profile) -> tuple[bool, str]:
    """Whether the memory bears a batch of twice the size, and what is known of that in words."""
    if profile.machine.device == "cuda":
        used = profile.within(profile.gauge("gpu0.memory")).values
        if not len(used):
            return True, "whether the GPU's memory bears it is not known"
        return bool(used.max() <= _ROOM), f"the GPU's memory was at most {used.max():.0f} % full"
    free = profile.within(profile.gauge("memory.available")).values
    job = profile.within(profile.gauge("tree.memory")).values
    peak = profile.trace.peak_bytes if profile.trace is not None else 0
    if not len(free) or not (peak or len(job)):
        return True, "whether memory bears it is not known"
    return bool((peak or job.max()) < free.min()), "memory has room for as much again as the job takes"


def _layout(step: StepModel, machine: Machine) -> Iterator[WhatIf]:
    if machine.channels_last is False and (computing := step.of(*_COMPUTING)):
        basis = (
            f"forward and backward take {_ms(computing)} and are taken to be {_CHANNELS_LAST} times as fast, the lower "
            f"end of what was measured of convolutional networks (1.1 to 1.35); others gain nothing"
        )
        saved = computing * (1 - 1 / _CHANNELS_LAST)
        yield _estimate(step, "channels last", {"channels_last": "on"}, step.seconds - saved, basis, bound=True)


def _precision(step: StepModel, profile: Profile) -> Iterator[WhatIf]:
    machine = profile.machine
    timed = any(name in one.device for one in profile.timed for name in _COMPUTING)
    if machine.device == "cuda" and machine.precision == "fp32" and timed:
        computing = step.of(*_COMPUTING)
        basis = (
            f"forward and backward take the GPU {_ms(computing)} and are taken to be {_HALF_PRECISION} times as fast, "
            f"the lower end of what matrix units for bf16 give (1.5 to 3); GPUs without them gain nothing"
        )
        saved = computing * (1 - 1 / _HALF_PRECISION)
        yield _estimate(step, "bf16 numbers", {"precision": "bf16"}, step.seconds - saved, basis, bound=True)


def _threads(step: StepModel, machine: Machine) -> Iterator[WhatIf]:
    if machine.device == "cpu" and 0 < machine.cores < machine.threads:
        basis = (
            f"{machine.threads} threads compute on {machine.cores} cores; the fastest tenth of the steps shows what "
            f"one takes when they do not stand in each other's way, and it may well be faster still"
        )
        then = step.quick + (step.data or 0.0)
        yield _estimate(step, "one thread a core", {"threads": machine.cores}, min(step.seconds, then), basis)


def _unwatched(step: StepModel) -> Iterator[WhatIf]:
    if hook := step.of("hook"):
        basis = f"the {_ms(hook)} a step in which the debugger watches are taken away"
        yield _estimate(step, "no debugger", {"debug": "off"}, step.seconds - hook, basis)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"
