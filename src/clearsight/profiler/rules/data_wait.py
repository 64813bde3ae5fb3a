"""DataWait: the network waits for its images, and what of making them it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.loader_cost import LoaderCost, idle_cores, loader_cost, more_loader_workers
from clearsight.profiler.analysis.timed_steps import LEAST_STEPS, TimedSteps, timed_steps

_MOSTLY = 0.5  # of the wait
_WORDS = {
    "read": "reading files",
    "decode": "decoding",
    "augment": "augmentation",
    "collate": "putting batches together",
}
_LIGHTER = {
    "read": "Copy the images to a local disk, or keep them in one archive instead of many small files.",
    "decode": "Store the images at about the size at which the network sees them, or choose a smaller input size.",
    "augment": "Choose a lighter augmentation, or augment on the device.",
    "collate": "Let readers fill one prepared array of bytes, and turn it into numbers on the device.",
}


@dataclass(frozen=True, slots=True)
class _Wait:
    """What was measured. share: of the step time, in [0, 1].  cause: of PARTS, "transfer", or "" for not known."""

    share: float
    cause: str
    steps: TimedSteps
    made: LoaderCost

    @property
    def at_openings(self) -> bool:
        """Whether most of it is at the first step of an epoch, and there are several epochs."""
        waits, opening = np.nan_to_num(self.steps.waits()), self.steps.openings()
        return bool(opening.sum() > 1 and waits[opening].sum() > _MOSTLY * waits.sum())


class DataWait(Rule):
    """Found when more than `share` of the step time passes in waiting for a batch and for its way to the device.

    The last full epoch counts where there are several: images that are kept are decoded in the first one only, and a
    wait that does not come again needs no repair. On a GPU its own clock decides, since a batch that comes late while
    the GPU still computes costs nothing. A single long wait decides nothing; one at the start of every epoch does.
    The cause is the part of making a batch that its readers spend most time on. SageMaker has no such rule: there
    LowGPUUtilization says that the device idles, and not what for.
    """

    topic = "speed"
    explains = ("LowGPUUtilization", "CPUBottleneck", "BatchSize", "IOBottleneck", "Dataloader")

    share: float = setting(15.0, "time spent waiting, of the step time", above=0, below=100, unit="%")

    def needs(self) -> Needs:
        return Needs(counted="timed", points=LEAST_STEPS)

    def check(self, view: RunView) -> Iterator[Finding]:
        steps = timed_steps(view.profile)
        steps = steps.chosen(np.isfinite(steps.waits()))
        if missing := steps.shortfall():
            yield self.not_enough_data(**missing)
            return
        recent = steps.recent()
        if recent.holds_first_epoch() and _goes_on_from_memory(view):
            cause = "in the first epoch images are decoded and kept; whether later ones wait shows in the second"
            yield self.not_enough_data(have=1, want=2, of="epochs", cause=cause)
            return
        wait = _measured(recent)
        value = 100 * wait.share
        if value <= self.share:
            yield self.clear(value=value, threshold=self.share, unit="% of the step time")
            return
        fix, advice = _remedy(view, wait)
        yield self.found(
            value=value,
            threshold=self.share,
            unit="% of the step time",
            steps=recent.ends,
            subject=wait.cause or "unknown readers",
            cause=_said(wait, whole=len(recent) == len(steps)),
            fix=fix,
            advice=advice,
            confidence=0.9 if wait.cause else 0.8,
            because=("SlowStorage",) if wait.cause == "read" else (),
            evidence=Series.of("data wait (% of the step)", steps.steps, 100 * steps.waits() / steps.seconds),
        )


def _goes_on_from_memory(view: RunView) -> bool:
    return bool(view.profile.machine.pixels_kept) and not view.ended and view.facts.epochs != 1


def _measured(steps: TimedSteps) -> _Wait:
    made = loader_cost(steps)
    data, sent = np.nansum(steps.on_device("data")), np.nansum(steps.on_device("transfer"))
    return _Wait(steps.wait_share(), "transfer" if sent > data else made.dearest, steps, made)


def _said(wait: _Wait, *, whole: bool) -> str:
    first, last = wait.steps.ends
    when = f"steps {first} to {last}" if whole else f"steps {first} to {last}, behind the first epoch"
    milliseconds = 1e3 * np.mean(np.nan_to_num(wait.steps.waits()))
    opening = ", most of it at the first step of an epoch" if wait.at_openings else ""
    said = (
        f"over {when}, {100 * wait.share:.0f} % of the time ({milliseconds:.3g} ms a step) "
        f"is spent waiting for images{opening}"
    )
    if wait.cause == "transfer":
        return f"{said}, more of it for their way to the device than for the readers"
    if not wait.cause:
        return f"{said}; what their readers do is unknown"
    each = wait.made.parts[wait.cause] / wait.made.images if wait.made.images > 0 else float("nan")
    cost = f", {1e3 * each:.2g} ms an image" if np.isfinite(each) else ""
    return f"{said}; their readers spend {100 * wait.made.share(wait.cause):.0f} % on {_WORDS[wait.cause]}{cost}"


def _remedy(view: RunView, wait: _Wait) -> tuple[dict[str, Any], str]:
    """Recipe fields and a sentence, at least one of them."""
    machine, settings = view.profile.machine, view.facts.settings
    if wait.cause == "transfer":
        smaller = "Choose a smaller input size: every pixel is turned into a number in the training thread."
        pinned = "Send images as bytes out of pinned memory, without blocking, and normalise them on the device."
        return {}, pinned if machine.device == "cuda" else smaller
    if wait.at_openings and machine.reading == "processes":
        return {}, "Keep the worker processes between epochs: DataLoader(..., persistent_workers=True)."
    lighter = _LIGHTER.get(
        wait.cause, "Run it as `clearsight profile -- python train.py` to see what the readers spend their time on."
    )
    if more := more_loader_workers(machine, idle_cores(view.profile)):
        if settings:
            return {"workers": more}, lighter if wait.cause == "read" else ""
        return {}, f"Give the DataLoader num_workers={more}; it has {machine.workers}."
    if settings.get("keep_pixels") is False and wait.cause in ("read", "decode") and view.facts.epochs != 1:
        return {"keep_pixels": True}, ""
    if settings.get("feature_cache") is False and settings.get("freeze", "none") != "none" and wait.cause:
        return {"feature_cache": True}, ""
    return {}, lighter
