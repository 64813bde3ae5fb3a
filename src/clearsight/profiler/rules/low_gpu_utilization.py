"""LowGPUUtilization: the device that computes is hardly used, or used with breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from clearsight.core.finding import Finding
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import WARM_UP
from clearsight.profiler.analysis.window import (
    HIGH_WAIT_SHARE,
    Window,
    overall_wait_share,
    patience_setting,
    sample_window,
    use_by_other_processes,
    used_gpus,
)
from clearsight.profiler.rules.speed_rule import OTHER_WORK, SampleRule


class LowGPUUtilization(SampleRule):
    """Found for a GPU whose utilisation stays below `threshold_p95` even at its busiest samples (95th percentile), or
    reaches that and falls below `threshold_p5` at its idlest (5th percentile).

    It is a symptom. The cause names the phase of the step that takes most time; if steps wait for batches, DataWait is
    the cause. A GPU that does nothing at all beside others that work belongs to LoadBalancing. Utilisation is the share
    of time in which any kernel runs: a GPU at 100 % may still be used badly.
    Without a GPU the processor is the device: low means that cores idle during training, and if torch has fewer threads
    than there are cores, the fix is to give it all. Cores that other processes occupy are reported as info, because
    that is no fault of the run. SageMaker's rule needs a GPU.
    """

    threshold_p95: float = setting(
        70.0, "utilisation at the busiest samples, 95th percentile", above=0, high=100, unit="%"
    )
    threshold_p5: float = setting(10.0, "utilisation at the idlest samples, 5th percentile", low=0, below=100, unit="%")
    window: int | None = setting(None, "newest samples that count [default: up to 500]", low=1, unit="samples")
    patience: int | None = patience_setting()

    def check(self, view: RunView) -> Iterator[Finding]:
        devices = used_gpus(view.profile) or view.profile.devices()
        # Each device has a window of its own: the gauges of one GPU may fail to be read where another's are there.
        every = {name: sample_window(view, (name,), length=self.window, patience=self.patience) for name in devices}
        windows = {name: samples for name, samples in every.items() if samples.enough}
        if not windows:
            yield self.too_few_samples(*every.values())
            return
        busiest = {name: samples.percentile(name, 95) for name, samples in windows.items()}
        idlest = {name: samples.percentile(name, 5) for name, samples in windows.items()}
        low = [n for n in windows if busiest[n] < self.threshold_p95 or idlest[n] < self.threshold_p5]
        if not low:
            yield self.clear(value=min(busiest.values()), threshold=self.threshold_p95, unit="%")
        for name in sorted(low, key=lambda name: busiest[name]):
            yield self._low(view, name, windows[name], busiest[name], idlest[name])

    def _low(self, view: RunView, name: str, samples: Window, busiest: float, idlest: float) -> Finding:
        varies = busiest >= self.threshold_p95  # a device that is busy at times was found for its breaks
        on_gpu, cores = name.startswith("gpu"), view.profile.machine.cores
        device = name if on_gpu else f"the processor ({cores or 'all'} cores)"
        use = f"varies between {idlest:.0f} % and {busiest:.0f} %" if varies else f"reaches at most {busiest:.0f} %"
        reason, consequences = self._reason(view, on_gpu)
        return self.found(
            value=idlest if varies else busiest,
            threshold=self.threshold_p5 if varies else self.threshold_p95,
            unit="%",
            steps=samples.step_range,
            subject=name,
            cause=f"the use of {device} {use}, with a median of {np.median(samples.values[name]):.0f} %{reason}",
            confidence=0.9 if reason else 0.7,
            evidence=samples.series(name),
            **consequences,
        )

    def _reason(self, view: RunView, on_gpu: bool) -> tuple[str, dict[str, Any]]:
        """Return the first reason that applies, as a clause, and what follows from it, as arguments of `found`."""
        machine, wait_share = view.profile.machine, overall_wait_share(view.profile)
        # Waiting comes first, because it explains idle cores too.
        if wait_share is not None and wait_share > HIGH_WAIT_SHARE:
            advice = "Make batches arrive in time, so that the device has work."
            reason = f"; steps wait for their batches for {100 * wait_share:.0f} % of the time"
            return reason, {"advice": advice, "because": ("DataWait",)}
        if not on_gpu and 0 < machine.threads < machine.cores:
            advice = f"Let torch use {machine.cores} threads, one per core."
            fix = {"threads": machine.cores} if view.context.settings else {}
            return f"; torch has {machine.threads} threads", {"advice": advice, "fix": fix}
        if not on_gpu and (others := use_by_other_processes(view, length=self.window)) > HIGH_WAIT_SHARE * 100:
            return f"; other processes use {others:.0f} % of the cores", OTHER_WORK
        if phase := _longest_phase(view):
            advice = "Give it more work at once: larger batches, or fewer and larger operations in a step."
            return phase, {"advice": advice}
        return "", {"advice": "Time the phases of a step to see what it waits for."}


def _longest_phase(view: RunView) -> str:
    """Return a clause on the phase that takes most of the step's time; "" if none was timed."""
    profile = view.profile
    seconds = profile.steps().seconds[WARM_UP:]
    totals = {name: float(np.nansum(profile.phase(name)[WARM_UP:])) for name in profile.phases()}
    if not totals or not seconds.sum():
        return ""
    longest = max(totals, key=lambda name: totals[name])
    return f"; most of the time, {100 * totals[longest] / seconds.sum():.0f} %, is spent on {longest}"
