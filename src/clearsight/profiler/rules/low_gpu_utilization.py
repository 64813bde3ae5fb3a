"""LowGPUUtilization: the device that computes has little to do, or now much and now nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clearsight.core.finding import Finding, Severity
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.window import LEAST, WAITS, WARM_UP, Window, gpus, in_use, others, waiting, window


class LowGPUUtilization(Rule):
    """Found for a GPU whose utilisation stays below `threshold_p95` even at its busiest looks (95th percentile), or
    reaches that and falls below `threshold_p5` at its idlest (5th percentile).

    It is a symptom; the cause names the phase of the step that takes most time, and where steps wait for batches
    stands behind DataWait. A GPU that does nothing at all beside others that work is LoadBalancing's. Utilisation is
    the share of time in which any kernel runs: a GPU at 100 % may still be used badly.
    Without a GPU the processor is the device: low means that cores idle while it trains, and where torch has fewer
    threads than there are cores the fix is to give it all; that other processes take the cores is worth knowing, no
    fault of the run. SageMaker's rule needs a GPU.
    """

    topic = "speed"

    threshold_p95: float = setting(
        70.0, "utilisation at the busiest looks, 95th percentile", above=0, high=100, unit="%"
    )
    threshold_p5: float = setting(10.0, "utilisation at the idlest looks, 5th percentile", low=0, below=100, unit="%")
    window: int | None = setting(None, "newest looks that count [default: up to 500]", low=1, unit="looks")
    patience: int | None = setting(
        None, "looks before it speaks [default: a fifth of the planned run, at least 20]", low=1, unit="looks"
    )

    def needs(self) -> Needs:
        return Needs(counted="looks", points=self.patience or LEAST)

    def check(self, view: RunView) -> Iterator[Finding]:
        devices = in_use(view.profile) if gpus(view.profile) else view.profile.devices()
        seen = {name: window(view, (name,), length=self.window, patience=self.patience) for name in devices}
        told = {name: looks for name, looks in seen.items() if looks.enough}
        if not told:
            most = max(seen.values(), key=lambda looks: looks.have, default=None)
            have, want = (most.have, most.wanted) if most else (0, self.needs().points)
            yield self.not_enough_data(have=have, want=want)
            return
        busiest = {name: looks.percentile(name, 95) for name, looks in told.items()}
        idlest = {name: looks.percentile(name, 5) for name, looks in told.items()}
        low = [n for n in told if busiest[n] < self.threshold_p95 or idlest[n] < self.threshold_p5]
        if not low:
            yield self.clear(value=min(busiest.values()), threshold=self.threshold_p95, unit="%")
        for name in sorted(low, key=lambda name: busiest[name]):
            yield self._idle(view, name, told[name], busiest[name], idlest[name])

    def _idle(self, view: RunView, name: str, looks: Window, busiest: float, idlest: float) -> Finding:
        swings = busiest >= self.threshold_p95
        on_gpu, cores = name.startswith("gpu"), view.profile.machine.cores
        who = name if on_gpu else f"the processor ({cores or 'all'} cores)"
        how = f"swings between {idlest:.0f} % and {busiest:.0f} %" if swings else f"reaches {busiest:.0f} % at the most"
        why = self._why(view, on_gpu)
        return self.found(
            value=idlest if swings else busiest,
            threshold=self.threshold_p5 if swings else self.threshold_p95,
            unit="%",
            severity=Severity.INFO if why.elsewhere else self.severity,
            steps=looks.span,
            subject=name,
            cause=f"the use of {who} {how}, with a median of {np.median(looks.values[name]):.0f} %{why.cause}",
            fix={"threads": cores} if why.threads and view.facts.settings else {},
            advice=why.advice,
            because=("DataWait",) if why.waits else (),
            confidence=0.9 if why.cause else 0.7,
            evidence=looks.series(name),
        )

    def _why(self, view: RunView, on_gpu: bool) -> _Why:
        machine, wait = view.profile.machine, waiting(view.profile)
        if wait is not None and wait > WAITS:
            cause = f"; {100 * wait:.0f} % of the time steps wait for their batches"
            return _Why(cause, "See to it that batches come in time: then it has something to do.", waits=True)
        if not on_gpu and 0 < machine.threads < machine.cores:
            cause = f"; torch has {machine.threads} threads"
            return _Why(cause, f"Let torch use {machine.cores} threads, one per core.", threads=True)
        if not on_gpu and (taken := others(view, length=self.window)) > WAITS * 100:
            cause = f"; other processes take {taken:.0f} % of the cores"
            return _Why(cause, "End other work on the machine, or train when there is none.", elsewhere=True)
        most = _longest(view)
        if not most:
            return _Why("", "Time the phases of a step to see what it waits for.")
        return _Why(most, "Give it more to do at once: larger batches, or fewer and larger operations in a step.")


@dataclass(frozen=True, slots=True)
class _Why:
    """What keeps the device from its work, and whether that is waiting, too few threads or others' work."""

    cause: str
    advice: str
    waits: bool = False
    threads: bool = False
    elsewhere: bool = False


def _longest(view: RunView) -> str:
    """The phase that takes most of the step's time, in words; "" where none was timed."""
    profile = view.profile
    seconds = profile.steps().seconds[WARM_UP:]
    spent = {name: float(np.nansum(profile.phase(name)[WARM_UP:])) for name in profile.phases()}
    if not spent or not seconds.sum():
        return ""
    most = max(spent, key=lambda name: spent[name])
    return f"; most of the time, {100 * spent[most] / seconds.sum():.0f} %, goes into {most}"
