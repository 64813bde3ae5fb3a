"""ThreadOversubscription: more threads compute than there are cores, and delay each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.format import several
from clearsight.core.profile import Machine
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.loader_cost import loader_cost
from clearsight.profiler.analysis.timed_steps import TimedSteps, steps_done, timed_steps
from clearsight.profiler.rules.speed_rule import SpeedRule

_MIN_SAMPLES = 5  # 2.5 seconds at the default rate, for a median


class ThreadOversubscription(SpeedRule):
    """Found when more threads compute than `threads` a core; or when they are more than `crowd` a core together with
    busy loader workers, and each core switches threads involuntarily more than `switches` times a second.

    Threads that share an operator wait for each other in a loop that keeps the core busy: one thread too many delays
    all others until the system interrupts it, and a step takes two to eighty times as long. Measured switches were 110
    a second and core with two threads on two cores, and 1,200 to 1,700 with three or more. On a machine that others use
    too, switches say little, so on a CPU too many compute threads count whatever the switches are. Beside a GPU the
    threads may well be idle, and switches decide. SageMaker's Dataloader compares only workers with cores.
    """

    explains = ("StepOutlier", "CPUBottleneck")

    threads: float = setting(1.0, "compute threads", above=0, unit="a core")
    crowd: float = setting(2.0, "compute threads and busy loader workers together", above=0, unit="a core")
    switches: float = setting(100.0, "involuntary context switches a second", low=0, unit="a core")

    def verdict(self, view: RunView) -> Finding:
        steps, machine = timed_steps(view.profile), view.profile.machine
        if missing := steps.shortfall():
            return self.not_enough_data(**missing)
        if not machine.threads or not machine.cores:
            cause = "the number of compute threads or of cores is unknown"
            return self.not_enough_data(have=0, want=1, of="counts of threads and cores", cause=cause)
        workers = _busy_workers(machine, steps)
        compute, crowded = machine.threads / machine.cores, (machine.threads + workers) / machine.cores
        too_many_threads = compute > self.threads
        value, limit = (compute, self.threads) if too_many_threads else (crowded, self.crowd)
        samples = view.profile.within(view.profile.gauge("tree.switches"))
        rate = float(np.median(samples.values)) / machine.cores if len(samples) >= _MIN_SAMPLES else None
        threads_decide = too_many_threads and machine.device != "cuda"
        if value > limit and rate is None and not threads_decide:
            return self.not_enough_data(have=len(samples), want=_MIN_SAMPLES, of="samples of context switches")
        if value > limit and (threads_decide or (rate is not None and rate > self.switches)):
            durations = Series.of("seconds of a step", steps.steps, steps.seconds)
            done, per_core = steps_done(view.profile, samples.times), samples.values / machine.cores
            switches = Series.of("context switches a second and core", done, per_core)
            return self.found(
                value=value,
                threshold=limit,
                unit="threads a core",
                steps=steps.step_range,
                subject="threads",
                cause=_cause(machine, workers, rate, steps),
                confidence=0.9 if rate is not None and rate > self.switches else 0.7,
                evidence=(durations, switches) if len(samples) else durations,
                **_remedy(view, too_many_threads),
            )
        return self.clear(value=value, threshold=limit, unit="threads a core")


def _busy_workers(machine: Machine, steps: TimedSteps) -> float:
    """Return the mean number of loader workers at work beside the training thread; 0 if that was not measured."""
    if machine.reading == "here" or not machine.workers:
        return 0.0
    measured = loader_cost(steps).busy
    return min(float(machine.workers), measured) if np.isfinite(measured) else 0.0


def _cause(machine: Machine, workers: float, rate: float | None, steps: TimedSteps) -> str:
    busy = f" beside {workers:.1f} busy loader workers" if workers >= 0.1 else ""
    switches = f"; each core switches threads involuntarily {rate:.0f} times a second" if rate is not None else ""
    median, slow = np.percentile(steps.seconds, [50, 95])
    return (
        f"{machine.threads} threads compute{busy} on {several(machine.cores, 'core')}{switches}, and a step takes "
        f"{1e3 * median:.3g} ms, the slowest in twenty {1e3 * slow:.3g} ms or more"
    )


def _remedy(view: RunView, too_many_threads: bool) -> dict[str, Any]:
    machine = view.profile.machine
    fix = {"threads": machine.cores} if too_many_threads else {}
    if (machine.workers or 0) > machine.cores or not too_many_threads:
        fix["workers"] = min(max(1, machine.cores // 2), machine.workers or 1)  # leaves cores to compute on
    if view.context.settings:
        return {"fix": fix}
    calls = {"threads": "torch.set_num_threads({})", "workers": "num_workers={}"}
    settings = " and ".join(calls[name].format(count) for name, count in fix.items())
    return {"advice": f"Set {settings}, and OMP_WAIT_POLICY=passive in the environment before torch is imported."}
