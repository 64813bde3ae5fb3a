"""Dataloader: far fewer or far more loader workers than cores, and training is slower for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.format import several
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import MIN_STEPS
from clearsight.profiler.analysis.window import (
    FULL_CORES,
    HIGH_WAIT_SHARE,
    overall_wait_share,
    sample_window,
    wait_shares,
)
from clearsight.profiler.rules.speed_rule import SpeedRule


class Dataloader(SpeedRule):
    """Found when there are fewer loader workers than `min_threshold` per cent of the cores while steps wait for batches
    and cores are free, or more than `max_threshold` per cent while the cores are full.

    The number alone is no fault: a run that never waits needs no more workers, and idle ones cost next to nothing.
    SageMaker's rule looks at the number only. Workers are threads in this product and processes in PyTorch's own
    loader; 0 means that the training thread loads by itself. An unknown number gives no verdict.
    """

    explains = ("LowGPUUtilization", "BatchSize")

    min_threshold: float = setting(70.0, "fewest loader workers", low=0, high=100, unit="% of the cores")
    max_threshold: float = setting(200.0, "most loader workers", low=100, unit="% of the cores")

    def verdict(self, view: RunView) -> Finding:
        profile, machine = view.profile, view.profile.machine
        timed = int(np.isfinite(wait_shares(profile)).sum())
        if timed < MIN_STEPS:
            return self.not_enough_data(have=timed)
        if machine.workers is None or not machine.cores:
            cause = "the number of loader workers or of cores is unknown"
            return self.not_enough_data(have=0, want=1, of="known numbers of loader workers and cores", cause=cause)
        share, wait_share = 100 * machine.workers / machine.cores, overall_wait_share(profile) or 0.0
        samples = sample_window(view, ("cpu",))
        cpu = float(np.median(samples.values["cpu"])) if len(samples) else None  # None: not sampled
        workers, cores = several(machine.workers, "loader worker"), several(machine.cores, "core")
        # Each number needs its symptom: too few workers make steps wait, too many fill the cores.
        if share < self.min_threshold and wait_share > HIGH_WAIT_SHARE and (cpu is None or cpu < FULL_CORES):
            loading = workers if machine.workers else "the training thread loads by itself"
            used = "" if cpu is None else f", which are used to {cpu:.0f} %"
            wait = f"steps wait for {100 * wait_share:.0f} % of their time"
            cause = f"{loading} on {cores}{used}, and {wait}"
            confidence = 0.9 if cpu is not None else 0.7  # unsampled cores may be full
            return self._wrong_number(view, share, self.min_threshold, cause=cause, confidence=confidence)
        if share > self.max_threshold and cpu is not None and cpu >= FULL_CORES:
            cause = f"{workers} share {cores}, which are used to {cpu:.0f} %: the workers delay each other and training"
            return self._wrong_number(view, share, self.max_threshold, cause=cause, confidence=0.7)
        limit = self.min_threshold if share < self.min_threshold else self.max_threshold
        return self.clear(value=share, threshold=limit, unit="% of the cores")

    def _wrong_number(self, view: RunView, share: float, threshold: float, **text: Any) -> Finding:
        cores, steps = view.profile.machine.cores, view.profile.steps().steps
        shares = wait_shares(view.profile)
        timed = np.isfinite(shares)
        return self.found(
            value=share,
            threshold=threshold,
            unit="% of the cores",
            steps=(int(steps[0]), int(steps[-1])),
            fix={"workers": cores} if view.context.settings else {},
            advice=f"Use {several(cores, 'loader worker')}, one per core.",
            evidence=Series.of("waiting for batches, % of the step", steps[timed], 100 * shares[timed]),
            **text,
        )
