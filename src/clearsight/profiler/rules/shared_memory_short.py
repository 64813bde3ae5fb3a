"""SharedMemoryShort: worker processes hand over batches through shared memory, and there is too little of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.profile import Machine
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import LEAST_STEPS, steps_done, timed_steps

_PREFETCH = 2  # batches that a DataLoader makes ahead per worker where nothing else is said
_MB = 2**20
_NEAR_THE_TOP = 95  # percentile of the looks: the border must hold when most batches are waiting


class SharedMemoryShort(Rule):
    """Found when the batches that worker processes make ahead may take more than `share` of /dev/shm, or when it was
    more than `used` full. Severe where they need more than there is: workers then die with a bus error.

    In containers /dev/shm is 64 MB unless something else is said, whatever the machine has. Readers that are threads
    share memory anyway and are always clear. SageMaker has no such rule.
    """

    topic = "speed"
    explains = ("Dataloader",)

    share: float = setting(50.0, "batches made ahead, of the shared memory", above=0, high=100, unit="%")
    used: float = setting(90.0, "shared memory in use", above=0, high=100, unit="%")

    def needs(self) -> Needs:
        return Needs(counted="timed", points=LEAST_STEPS)

    def check(self, view: RunView) -> Iterator[Finding]:
        machine, steps = view.profile.machine, timed_steps(view.profile)
        if missing := steps.shortfall():
            yield self.not_enough_data(**missing)
            return
        if machine.reading in ("threads", "here") or machine.workers == 0:
            yield self.clear(value=0.0, threshold=self.share, unit="% of the shared memory")
            return
        need, looks = _need(machine), view.profile.within(view.profile.gauge("shm"))
        full = float(np.percentile(looks.values, _NEAR_THE_TOP)) if len(looks) else None
        if need is None and full is None:
            cause = "how large batches and shared memory are is unknown, and nobody looked at how full it is"
            yield self.not_enough_data(have=0, want=1, of="looks at the shared memory", cause=cause)
            return
        share = 100 * need / machine.shm_bytes if need is not None else 0.0
        seen = Series.of("shm (% in use)", steps_done(view.profile, looks.times), looks.values)
        wanted = Series.of("batches made ahead (% of shm)", steps.steps, np.full(len(steps), share))
        evidence = tuple(series for series, told in ((seen, len(looks)), (wanted, need is not None)) if told)
        if need is not None and share > self.share:
            yield self.found(
                value=share,
                threshold=self.share,
                unit="% of the shared memory",
                steps=steps.ends,
                subject="/dev/shm",
                severity=Severity.SEVERE if share > 100 else self.severity,
                cause=_said(machine, need, share),
                advice=_advice(need),
                evidence=evidence,
            )
        elif full is not None and full > self.used:
            yield self.found(
                value=full,
                threshold=self.used,
                unit="% of the shared memory",
                steps=steps.ends,
                subject="/dev/shm",
                cause=f"the shared memory through which worker processes hand over batches is {full:.0f} % full",
                advice=_advice(need),
                confidence=0.8,
                evidence=evidence,
            )
        elif need is None:
            assert full is not None
            yield self.clear(value=full, threshold=self.used, unit="% of the shared memory")
        else:
            yield self.clear(value=share, threshold=self.share, unit="% of the shared memory")


def _need(machine: Machine) -> float | None:
    """Bytes of all batches made ahead; None where that is not known."""
    if not machine.workers or not machine.batch_bytes or not machine.shm_bytes:
        return None
    return float(machine.workers * (machine.prefetch or _PREFETCH) * machine.batch_bytes)


def _said(machine: Machine, need: float, share: float) -> str:
    each = machine.batch_bytes / _MB
    end = "; a worker that finds no room dies with a bus error" if share > 100 else ""
    return (
        f"{machine.workers} worker processes with {machine.prefetch or _PREFETCH} batches of {each:.3g} MB each "
        f"need {need / _MB:.0f} MB of the {machine.shm_bytes / _MB:.0f} MB in /dev/shm{end}"
    )


def _advice(need: float | None) -> str:
    size = f"{max(1, int(np.ceil(2 * need / 2**30)))}g" if need is not None else "8g"
    return (
        f"Start the container with --shm-size {size}, or make less ahead (a lower prefetch_factor, fewer workers), or "
        'call torch.multiprocessing.set_sharing_strategy("file_system").'
    )
