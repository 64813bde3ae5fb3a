"""Dataloader: far fewer or far more readers than cores, and training feels it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.profile import Profile
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.window import FULL, LEAST, WAITS, waited, waiting, window


class Dataloader(Rule):
    """Found when there are fewer readers than `min_threshold` per cent of the cores while steps wait for batches and
    cores are free, or more than `max_threshold` per cent while the cores are full.

    The number alone is no fault: a run that never waits needs no more readers, and idle ones cost next to nothing.
    That is where it differs from SageMaker's rule, which looks at the number only. Readers are threads in this
    product and processes in PyTorch's own loader; 0 means that the training thread reads by itself. Where their number
    is not known it says so.
    """

    topic = "speed"
    explains = ("LowGPUUtilization", "BatchSize")

    min_threshold: float = setting(70.0, "fewest readers", low=0, high=100, unit="% of the cores")
    max_threshold: float = setting(200.0, "most readers", low=100, unit="% of the cores")

    def needs(self) -> Needs:
        return Needs(counted="timed", points=LEAST)

    def check(self, view: RunView) -> Iterator[Finding]:
        profile, machine = view.profile, view.profile.machine
        timed = int(np.isfinite(waited(profile)).sum())
        if timed < LEAST:
            yield self.not_enough_data(have=timed)
            return
        if machine.workers is None or not machine.cores:
            yield self.not_enough_data(have=0, want=1, of="known numbers of readers and cores", cause=_UNKNOWN)
            return
        share, wait, busy = 100 * machine.workers / machine.cores, waiting(profile) or 0.0, _busy(view)
        if share < self.min_threshold and wait > WAITS and (busy is None or busy < FULL):
            yield self._few(view, share, wait, busy)
        elif share > self.max_threshold and busy is not None and busy >= FULL:
            yield self._many(view, share, busy)
        else:
            border = self.min_threshold if share < self.min_threshold else self.max_threshold
            yield self.clear(value=share, threshold=border, unit="% of the cores")

    def _few(self, view: RunView, share: float, wait: float, busy: float | None) -> Finding:
        machine = view.profile.machine
        who = "the training thread reads by itself" if not machine.workers else f"{_readers(machine.workers)}"
        free = "" if busy is None else f", which are used to {busy:.0f} %"
        return self.found(
            value=share,
            threshold=self.min_threshold,
            unit="% of the cores",
            steps=_steps(view.profile),
            cause=f"{who} on {machine.cores} cores{free}, and steps wait for {100 * wait:.0f} % of their time",
            fix={"workers": machine.cores} if view.facts.settings else {},
            advice=f"Read with {machine.cores} workers, one per core.",
            confidence=0.9 if busy is not None else 0.7,
            evidence=_waits(view.profile),
        )

    def _many(self, view: RunView, share: float, busy: float) -> Finding:
        machine = view.profile.machine
        return self.found(
            value=share,
            threshold=self.max_threshold,
            unit="% of the cores",
            steps=_steps(view.profile),
            cause=(
                f"{_readers(machine.workers or 0)} share {machine.cores} cores, which are used to {busy:.0f} %: "
                "they take them from each other and from training"
            ),
            fix={"workers": machine.cores} if view.facts.settings else {},
            advice=f"Read with {machine.cores} workers, one per core.",
            confidence=0.7,
            evidence=_waits(view.profile),
        )


_UNKNOWN = "it is not known how many readers and cores there are"


def _busy(view: RunView) -> float | None:
    """Median use of the cores while it trained, in per cent; None where nobody looked."""
    looks = window(view, ("cpu",))
    return float(np.median(looks.values["cpu"])) if len(looks) else None


def _readers(count: int) -> str:
    return "1 reader" if count == 1 else f"{count} readers"


def _steps(profile: Profile) -> tuple[int, int]:
    steps = profile.steps().steps
    return int(steps[0]), int(steps[-1])


def _waits(profile: Profile) -> Series:
    shares = 100 * waited(profile)
    known = np.isfinite(shares)
    return Series.of("waiting for batches, % of the step", profile.steps().steps[known], shares[known])
