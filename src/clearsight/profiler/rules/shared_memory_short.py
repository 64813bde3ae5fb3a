"""SharedMemoryShort: worker processes pass batches on through shared memory, and there is too little of it."""

from __future__ import annotations

from functools import partial

import numpy as np

from clearsight.core.finding import Finding, Series, Severity
from clearsight.core.format import several
from clearsight.core.profile import Machine
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import steps_done, timed_steps
from clearsight.profiler.rules.speed_rule import SpeedRule

_PREFETCH = 2  # batches that a DataLoader makes ahead per worker by default
_MB = 2**20
_UNIT = "% of the shared memory"
_BUSIEST = 95  # percentile of the samples: the limit must hold when most batches are waiting


class SharedMemoryShort(SpeedRule):
    """Found when the batches that worker processes make ahead may take more than `share` of /dev/shm, or when it was
    more than `used` full. Severe if they need more than there is: workers then die with a bus error.

    In containers /dev/shm has 64 MB by default, however much memory the machine has. Loader workers that are threads
    share memory anyway and are always clear. SageMaker has no such rule.
    """

    explains = ("Dataloader",)

    share: float = setting(50.0, "batches made ahead, of the shared memory", above=0, high=100, unit="%")
    used: float = setting(90.0, "shared memory in use", above=0, high=100, unit="%")

    def verdict(self, view: RunView) -> Finding:
        machine, steps = view.profile.machine, timed_steps(view.profile)
        if missing := steps.shortfall():
            return self.not_enough_data(**missing)
        if machine.reading in ("threads", "here") or machine.workers == 0:
            return self.clear(value=0.0, threshold=self.share, unit=_UNIT)
        need, samples = _bytes_made_ahead(machine), view.profile.within(view.profile.gauge("shm"))
        full = float(np.percentile(samples.values, _BUSIEST)) if len(samples) else None
        if need is None and full is None:
            cause = "the sizes of batches and of the shared memory are unknown, and its use was not sampled"
            return self.not_enough_data(have=0, want=1, of="samples of the shared memory", cause=cause)
        share = 100 * need / machine.shm_bytes if need is not None else 0.0
        in_use = Series.of("shm (% in use)", steps_done(view.profile, samples.times), samples.values)
        ahead = Series.of("batches made ahead (% of shm)", steps.steps, np.full(len(steps), share))
        evidence = tuple(series for series, known in ((in_use, len(samples)), (ahead, need is not None)) if known)
        short = partial(
            self.found, unit=_UNIT, steps=steps.step_range, subject="/dev/shm", advice=_advice(need), evidence=evidence
        )
        # The possible need comes before the present use: it is reached when all workers are ahead at once.
        if need is not None and share > self.share:
            severity = Severity.SEVERE if share > 100 else self.severity
            cause = _cause(machine, need, share)
            return short(value=share, threshold=self.share, cause=cause, severity=severity)
        if full is not None and full > self.used:
            cause = f"the shared memory through which worker processes pass batches is {full:.0f} % full"
            # Less sure: other processes may be the ones that fill it.
            return short(value=full, threshold=self.used, cause=cause, confidence=0.8)
        if need is None:
            return self.clear(value=full, threshold=self.used, unit=_UNIT)
        return self.clear(value=share, threshold=self.share, unit=_UNIT)


def _bytes_made_ahead(machine: Machine) -> float | None:
    """Return the bytes of all batches made ahead; None if unknown."""
    if not machine.workers or not machine.batch_bytes or not machine.shm_bytes:
        return None
    return float(machine.workers * (machine.prefetch or _PREFETCH) * machine.batch_bytes)


def _cause(machine: Machine, need: float, share: float) -> str:
    processes = several(machine.workers or 0, "worker process")
    crash = "; a worker that finds no room dies with a bus error" if share > 100 else ""
    return (
        f"{processes} with {machine.prefetch or _PREFETCH} batches of {machine.batch_bytes / _MB:.3g} MB each "
        f"need {need / _MB:.0f} MB of the {machine.shm_bytes / _MB:.0f} MB in /dev/shm{crash}"
    )


def _advice(need: float | None) -> str:
    # Twice the need, so that the batches stay below the default threshold of 50 %.
    size = f"{max(1, int(np.ceil(2 * need / 2**30)))}g" if need is not None else "8g"
    return (
        f"Start the container with --shm-size {size}, or make fewer batches ahead (a lower prefetch_factor, fewer "
        'workers), or call torch.multiprocessing.set_sharing_strategy("file_system").'
    )
