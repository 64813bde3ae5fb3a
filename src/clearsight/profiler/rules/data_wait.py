"""DataWait: the network waits for its batches, and the part of loading that it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.loader_cost import LoaderCost, idle_cores, loader_cost, more_loader_workers
from clearsight.profiler.analysis.timed_steps import TimedSteps, timed_steps
from clearsight.profiler.rules.speed_rule import SpeedRule

_MOST = 0.5  # of the wait
_PART_NAMES = {"read": "reading files", "decode": "decoding", "augment": "augmentation", "collate": "collating batches"}
_LESS_WORK = {
    "read": "Copy the images to a local disk, or keep them in one archive instead of many small files.",
    "decode": "Store the images at about the network's input size, or choose a smaller input size.",
    "augment": "Choose a lighter augmentation, or augment on the device.",
    "collate": "Let loader workers fill one preallocated byte array, and convert it to floats on the device.",
}


@dataclass(frozen=True, slots=True)
class _Wait:
    """Measured wait. share: of the step time, in [0, 1].  part: of LOAD_PARTS, "transfer", or "" if unknown."""

    share: float
    part: str
    steps: TimedSteps
    cost: LoaderCost

    @property
    def at_epoch_starts(self) -> bool:
        """Return True if most of the wait is at the first steps of several epochs."""
        waits, first = np.nan_to_num(self.steps.wait_seconds()), self.steps.first_of_epoch()
        return bool(first.sum() > 1 and waits[first].sum() > _MOST * waits.sum())


class DataWait(SpeedRule):
    """Found when more than `share` of the step time is spent waiting for a batch and for its transfer to the device.

    With several epochs the last full one counts: images that are kept in memory are decoded in the first epoch only,
    and a wait that does not come again needs no repair. On a GPU its own clock decides, because a batch that comes late
    while the GPU still computes costs nothing. A single long wait does not count; one at the start of every epoch does.
    The cause is the part of loading that takes the loader workers most time. SageMaker has no such rule: its
    LowGPUUtilization says that the device idles, but not what it waits for. Steps on cached features are clear: no
    image is loaded for them, and copying rows in memory takes a visible share only of steps of about a millisecond.
    """

    explains = ("LowGPUUtilization", "CPUBottleneck", "BatchSize", "IOBottleneck", "Dataloader")

    share: float = setting(15.0, "time spent waiting, of the step time", above=0, below=100, unit="%")

    def verdict(self, view: RunView) -> Finding:
        steps = timed_steps(view.profile)
        steps = steps.select(np.isfinite(steps.wait_seconds()))  # an untimed wait is not a wait of 0 s
        if missing := steps.shortfall():
            return self.not_enough_data(**missing)
        recent = steps.recent()
        later_epochs_use_memory = view.profile.machine.pixels_kept and not view.ended and view.context.epochs != 1
        if recent.includes_first_epoch() and later_epochs_use_memory:
            cause = "the first epoch decodes images and keeps them in memory; the second shows whether steps still wait"
            return self.not_enough_data(have=1, want=2, of="epochs", cause=cause)
        cost = loader_cost(recent)
        data, transfer = (np.nansum(recent.device_phase(name)) for name in ("data", "transfer"))
        wait = _Wait(recent.wait_share(), "transfer" if transfer > data else cost.costliest, recent, cost)
        value = 100 * wait.share
        if value <= self.share or view.context.cached:
            return self.clear(value=value, threshold=self.share, unit="% of the step time")
        return self.found(
            value=value,
            threshold=self.share,
            unit="% of the step time",
            steps=recent.step_range,
            subject=wait.part or "unknown part",
            cause=_cause(wait, all_steps=len(recent) == len(steps)),
            confidence=0.9 if wait.part else 0.8,
            because=("SlowStorage",) if wait.part == "read" else (),
            evidence=Series.of("data wait (% of the step)", steps.steps, 100 * steps.wait_seconds() / steps.seconds),
            **_remedy(view, wait),
        )


def _cause(wait: _Wait, *, all_steps: bool) -> str:
    first, last = wait.steps.step_range
    period = f"steps {first} to {last}" if all_steps else f"steps {first} to {last}, after the first epoch"
    milliseconds = 1e3 * np.mean(np.nan_to_num(wait.steps.wait_seconds()))
    at_starts = ", mostly at the first step of an epoch" if wait.at_epoch_starts else ""
    measured = (
        f"in {period}, {100 * wait.share:.0f} % of the time ({milliseconds:.3g} ms a step) "
        f"is spent waiting for images{at_starts}"
    )
    if wait.part == "transfer":
        return f"{measured}; the transfer to the device takes more of it than the loader workers do"
    if not wait.part:
        return f"{measured}; what the loader workers spend their time on is unknown"
    each = wait.cost.parts[wait.part] / wait.cost.images if wait.cost.images > 0 else float("nan")
    cost = f", {1e3 * each:.2g} ms an image" if np.isfinite(each) else ""
    part, share = _PART_NAMES[wait.part], 100 * wait.cost.share(wait.part)
    return f"{measured}; the loader workers spend {share:.0f} % of their time on {part}{cost}"


def _remedy(view: RunView, wait: _Wait) -> dict[str, Any]:
    """Return `fix`, `advice` or both as arguments of `found`; changes that cost no accuracy come first."""
    machine, settings = view.profile.machine, view.context.settings
    if wait.part == "transfer":
        smaller = "Choose a smaller input size: the training thread converts every pixel to a float."
        pinned = "Send images as bytes from pinned memory, without blocking, and normalise them on the device."
        return {"advice": pinned if machine.device == "cuda" else smaller}
    # A DataLoader starts its worker processes again for every epoch, unless they persist.
    if wait.at_epoch_starts and machine.reading == "processes":
        return {"advice": "Keep the worker processes between epochs: DataLoader(..., persistent_workers=True)."}
    less_work = _LESS_WORK.get(
        wait.part, "Run it as `clearsight profile -- python train.py` to see what the loader workers spend time on."
    )
    if more := more_loader_workers(machine, idle_cores(view.profile)):
        if settings:
            return {"fix": {"workers": more}, "advice": less_work if wait.part == "read" else ""}
        return {"advice": f"Give the DataLoader num_workers={more}; it has {machine.workers}."}
    if settings.get("keep_pixels") is False and wait.part in ("read", "decode") and view.context.epochs != 1:
        return {"fix": {"keep_pixels": True}}
    # Features of frozen layers are the same in every epoch, so images need to be loaded once only.
    if settings.get("feature_cache") is False and settings.get("freeze", "none") != "none" and wait.part:
        return {"fix": {"feature_cache": True}}
    return {"advice": less_work}
