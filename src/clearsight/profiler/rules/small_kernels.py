"""SmallKernels: operators are so short that starting them takes longer than what they compute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.profile import Profile, Trace
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import timed_steps

_TRACED = 3  # steps
_ROOM = 45.0  # per cent of a GPU's memory that leaves room for twice the batch
_COMPUTING = ("forward", "loss", "backward", "optimizer")


@dataclass(frozen=True, slots=True)
class _Kernels:
    """Of the traced steps. mean: seconds of a kernel.  host: seconds of a step that were spent on computing.
    idle: share of it in which no kernel ran, in [0, 1]."""

    mean: float
    host: float
    idle: float
    a_step: float


class SmallKernels(Rule):
    """Found when the kernels of the traced steps take less than `gpu` microseconds on average on a GPU, or `cpu` on a
    CPU, and for more than `idle` of the time that a step computes no kernel runs at all.

    Starting a kernel costs about five to ten microseconds whatever it does; small batches of small images, and
    optimizers that go tensor by tensor, are made of starts. The time is that of the training thread in steps that were
    not traced, since tracing takes time of its own between two kernels. It needs a trace. SageMaker has no such rule.
    """

    topic = "speed"
    explains = ("LowGPUUtilization",)

    gpu: float = setting(10.0, "mean kernel on a GPU", above=0, unit="microseconds")
    cpu: float = setting(20.0, "mean operator on a CPU", above=0, unit="microseconds")
    idle: float = setting(30.0, "computing time without a kernel", above=0, below=100, unit="%")

    def needs(self) -> Needs:
        return Needs(counted="timed", points=_TRACED)

    def check(self, view: RunView) -> Iterator[Finding]:
        profile, trace = view.profile, view.profile.trace
        if trace is None or trace.steps < _TRACED or trace.kernels <= 0 or not trace.kernel_seconds > 0:
            have = min(max(0, trace.steps), _TRACED - 1) if trace is not None else 0
            cause = "no steps were traced operator by operator; --profile full does"
            yield self.not_enough_data(have=have, want=_TRACED, of="traced steps", cause=cause)
            return
        on_gpu = profile.machine.device == "cuda"
        seen = _kernels(profile, trace, on_gpu)
        border = self.gpu if on_gpu else self.cpu
        if not (1e6 * seen.mean < border and 100 * seen.idle > self.idle):
            yield self.clear(value=1e6 * seen.mean, threshold=border, unit="microseconds a kernel")
            return
        fix, advice = _remedy(view, on_gpu)
        yield self.found(
            value=1e6 * seen.mean,
            threshold=border,
            unit="microseconds a kernel",
            steps=(trace.first, trace.last),
            subject="kernels",
            cause=(
                f"a step starts {seen.a_step:,.0f} {'kernels' if on_gpu else 'operators'} of {1e6 * seen.mean:.2g} "
                f"microseconds each, and none runs for {100 * seen.idle:.0f} % of the {1e3 * seen.host:.3g} ms "
                f"in which it computes{_most_often(trace)}"
            ),
            fix=fix,
            advice=advice,
            confidence=0.8,
            evidence=_evidence(profile, trace),
        )


def _kernels(profile: Profile, trace: Trace, on_gpu: bool) -> _Kernels:
    host = _quiet(profile, trace)
    busy = trace.kernel_seconds / trace.steps
    idle = 1 - busy / host if host > 0 else 0.0
    return _Kernels(trace.kernel_seconds / trace.kernels, host, min(1.0, max(0.0, idle)), trace.kernels / trace.steps)


def _quiet(profile: Profile, trace: Trace) -> float:
    """Seconds of the training thread in a step that was not traced; those of the trace where no phase was timed."""
    steps = timed_steps(profile)
    steps = steps.chosen((steps.steps < trace.first) | (steps.steps > trace.last))
    spent = [steps.phase(name) for name in _COMPUTING]
    medians = [float(np.median(column[np.isfinite(column)])) for column in spent if np.isfinite(column).any()]
    return sum(medians) or trace.seconds / trace.steps


def _most_often(trace: Trace) -> str:
    called = max(trace.operators, key=lambda one: one.calls, default=None)
    if called is None or not called.calls:
        return ""
    return f"; most often {called.name}, {called.calls / trace.steps:.0f} times a step"


def _evidence(profile: Profile, trace: Trace) -> Series:
    steps = timed_steps(profile)
    if len(steps):
        return Series.of("seconds of a step", steps.steps, steps.seconds)
    return Series.of("seconds of a traced step", [trace.first, trace.last], [trace.seconds / trace.steps] * 2)


def _remedy(view: RunView, on_gpu: bool) -> tuple[dict[str, Any], str]:
    settings, machine = view.facts.settings, view.profile.machine
    size = view.facts.batch_size or machine.batch_size
    memory = view.profile.within(view.profile.gauge("gpu0.memory")).values
    fix: dict[str, Any] = {}
    if settings and size and not (len(memory) and memory.max() > _ROOM):
        fix["batch_size"] = 2 * size
    if settings and machine.channels_last is False:
        fix["channels_last"] = "on"
    larger = "" if settings else "Use larger batches. "
    return fix, f"{larger}Fewer kernels are started with torch.compile, a fused optimizer{', CUDA graphs' * on_gpu}."
