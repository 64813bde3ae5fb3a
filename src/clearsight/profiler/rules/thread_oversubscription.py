"""ThreadOversubscription: more threads want to compute than there are cores, and stand in each other's way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.profile import Machine
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.loader_cost import loader_cost
from clearsight.profiler.analysis.timed_steps import LEAST_STEPS, TimedSteps, steps_done, timed_steps

_LEAST_LOOKS = 5


class ThreadOversubscription(Rule):
    """Found when more threads compute than `threads` a core; or when they are more than `crowd` a core together with
    busy readers, and the cores take threads off their work more than `switches` times a second each.

    Threads that share an operator wait for each other in a loop that burns the core: one thread too many holds up all
    others until the system takes it off, and a step takes two to eighty times as long. Switches were 110 a second and
    core with two threads on two cores and 1,200 to 1,700 with three or more; on a machine that others use too they say
    little, so that on a CPU too many compute threads count whatever the switches are. Beside a GPU they may well be
    idle, and switches decide. SageMaker's Dataloader compares only workers with cores.
    """

    topic = "speed"
    explains = ("StepOutlier", "CPUBottleneck")

    threads: float = setting(1.0, "compute threads", above=0, unit="a core")
    crowd: float = setting(2.0, "compute threads and busy readers together", above=0, unit="a core")
    switches: float = setting(100.0, "involuntary context switches a second", low=0, unit="a core")

    def needs(self) -> Needs:
        return Needs(counted="timed", points=LEAST_STEPS)

    def check(self, view: RunView) -> Iterator[Finding]:
        steps, machine = timed_steps(view.profile), view.profile.machine
        if missing := steps.shortfall():
            yield self.not_enough_data(**missing)
            return
        if not machine.threads or not machine.cores:
            cause = "how many threads compute, on how many cores, is unknown"
            yield self.not_enough_data(have=0, want=1, of="counts of threads and cores", cause=cause)
            return
        busy = _busy_readers(machine, steps)
        alone, together = machine.threads / machine.cores, (machine.threads + busy) / machine.cores
        value, border = (alone, self.threads) if alone > self.threads else (together, self.crowd)
        looks = view.profile.within(view.profile.gauge("tree.switches"))
        rate = float(np.median(looks.values)) / machine.cores if len(looks) >= _LEAST_LOOKS else None
        alone_decides = alone > self.threads and machine.device != "cuda"
        if value > border and rate is None and not alone_decides:
            yield self.not_enough_data(have=len(looks), want=_LEAST_LOOKS, of="looks at context switches")
        elif value > border and (alone_decides or (rate is not None and rate > self.switches)):
            times = Series.of("seconds of a step", steps.steps, steps.seconds)
            over, each = steps_done(view.profile, looks.times), looks.values / machine.cores
            switched = Series.of("context switches a second and core", over, each)
            fix, advice = _remedy(view, alone > self.threads)
            yield self.found(
                value=value,
                threshold=border,
                unit="threads a core",
                steps=steps.ends,
                subject="threads",
                cause=_said(machine, busy, rate, steps),
                fix=fix,
                advice=advice,
                confidence=0.9 if rate is not None and rate > self.switches else 0.7,
                evidence=(times, switched) if len(looks) else times,
            )
        else:
            yield self.clear(value=value, threshold=border, unit="threads a core")


def _busy_readers(machine: Machine, steps: TimedSteps) -> float:
    """Readers at work on average beside the training thread, 0 where that was not measured."""
    if machine.reading == "here" or not machine.workers:
        return 0.0
    measured = loader_cost(steps).busy
    return min(float(machine.workers), measured) if np.isfinite(measured) else 0.0


def _said(machine: Machine, busy: float, rate: float | None, steps: TimedSteps) -> str:
    beside = f" beside {busy:.1f} busy readers" if busy >= 0.1 else ""
    counted = f"; each core takes one off its work {rate:.0f} times a second" if rate is not None else ""
    median, slow = np.percentile(steps.seconds, [50, 95])
    return (
        f"{machine.threads} threads compute{beside} on {machine.cores} cores{counted}, and a step takes "
        f"{1e3 * median:.3g} ms, the slowest in twenty {1e3 * slow:.3g} ms or more"
    )


def _remedy(view: RunView, too_many_threads: bool) -> tuple[dict[str, int], str]:
    machine = view.profile.machine
    fix = {"threads": machine.cores} if too_many_threads else {}
    if (machine.workers or 0) > machine.cores or not too_many_threads:
        fix["workers"] = min(max(1, machine.cores // 2), machine.workers or 1)
    if view.facts.settings:
        return fix, ""
    calls = {"threads": "torch.set_num_threads({})", "workers": "num_workers={}"}
    said = " and ".join(calls[name].format(count) for name, count in fix.items())
    return {}, f"Set {said}, and OMP_WAIT_POLICY=passive in the environment before torch is imported."
