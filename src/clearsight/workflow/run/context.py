"""LaunchContext: the circumstances of a run that do not decide what it computes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from clearsight.core.events import Observer
from clearsight.core.stop import StopReason
from clearsight.training.distributed import World
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, quiet

Ending = Literal["deliver", "record"]


@dataclass(frozen=True, kw_only=True)
class LaunchContext:
    """Everything about a run that is not part of its recipe.

    observers: receive its events.  paths: of caches and weights.  world: which process of how many this is.
    command: as it was typed, for run.json.  visible: the GPUs that this process may use, as in CUDA_VISIBLE_DEVICES;
    None for all.  halt: asked between steps why to stop now; None to continue.
    ending: "deliver" makes a bundle, scores and a report of an ended training; "record" keeps weights and validation
    scores alone, for a trial of which nobody knows yet whether it is the best.
    started: time.monotonic() at the start of the command.  trusted: rules and actions of a saved recipe that may run
    code, as their texts; None for all.
    """

    observers: Sequence[Observer] = ()
    paths: Paths = field(default_factory=lambda: Paths.of({}))  # the user's own
    world: World = World()  # noqa: RUF009 - a frozen value
    progress: Progress = quiet
    command: Sequence[str] = ()
    visible: Sequence[str] | None = None
    halt: Callable[[], StopReason | None] = lambda: None
    ending: Ending = "deliver"
    trusted: Collection[str] | None = ()
    started: float = field(default_factory=time.monotonic)  # durations: the clock of the wall may be set meanwhile


def world_of(environ: Mapping[str, str]) -> World:
    """Return the place of this process among those that torchrun started; a world of one without torchrun."""
    if "WORLD_SIZE" not in environ or "RANK" not in environ:
        return World()
    local_rank = int(environ.get("LOCAL_RANK", "0"))  # of this machine: the number of its GPU
    return World(rank=int(environ["RANK"]), size=int(environ["WORLD_SIZE"]), local_rank=local_rank)


def visible_gpus(environ: Mapping[str, str]) -> list[str] | None:
    """Return the GPUs in CUDA_VISIBLE_DEVICES, by number or name; None if it is not set and all GPUs may be used."""
    devices = environ.get("CUDA_VISIBLE_DEVICES")
    return None if devices is None else [device.strip() for device in devices.split(",") if device.strip()]


def gpu_count(environ: Mapping[str, str]) -> int:
    """Return the number of GPUs that this process may use; 0 without a driver. Does not load torch."""
    visible = visible_gpus(environ)
    if visible is not None:
        return len([device for device in visible if device != "-1"])  # -1 hides all GPUs
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0  # no driver, or no GPU
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()
