"""SmallKernels: operators are so short that starting them takes longer than computing them."""

from __future__ import annotations

from typing import Any

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.profile import Profile, Trace
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.timed_steps import timed_steps
from clearsight.profiler.analysis.what_if import MAX_MEMORY_FOR_TWICE
from clearsight.profiler.rules.speed_rule import SpeedRule

_MIN_TRACED = 3  # steps
_COMPUTING = ("forward", "loss", "backward", "optimizer")


class SmallKernels(SpeedRule):
    """Found when the kernels of the traced steps take less than `gpu` microseconds on average on a GPU, or `cpu` on a
    CPU, and no kernel runs for more than `idle` of the time in which a step computes.

    Starting a kernel costs about five to ten microseconds, however little it computes. Small batches of small images,
    and optimizers that go tensor by tensor, spend most of their time on starts. The computing time is that of the
    training thread in steps that were not traced, because tracing adds time between two kernels. It needs a trace.
    SageMaker has no such rule.
    """

    explains = ("LowGPUUtilization",)
    points = _MIN_TRACED

    gpu: float = setting(10.0, "mean kernel on a GPU", above=0, unit="microseconds")
    cpu: float = setting(20.0, "mean operator on a CPU", above=0, unit="microseconds")
    idle: float = setting(30.0, "computing time without a kernel", above=0, below=100, unit="%")

    def verdict(self, view: RunView) -> Finding:
        profile, trace = view.profile, view.profile.trace
        if trace is None or trace.steps < _MIN_TRACED or trace.kernels <= 0 or not trace.kernel_seconds > 0:
            # A trace that is long enough but holds no kernel counts as one step short.
            traced = min(max(0, trace.steps), _MIN_TRACED - 1) if trace is not None else 0
            cause = "no steps were traced operator by operator; --profile full traces some"
            return self.not_enough_data(have=traced, want=_MIN_TRACED, of="traced steps", cause=cause)
        on_gpu = profile.machine.device == "cuda"
        mean = 1e6 * (trace.kernel_seconds / trace.kernels)
        computing, busy = _computing_seconds(profile, trace), trace.kernel_seconds / trace.steps
        idle = 100 * min(1.0, max(0.0, 1 - busy / computing if computing > 0 else 0.0))
        limit = self.gpu if on_gpu else self.cpu
        if not (mean < limit and idle > self.idle):
            return self.clear(value=mean, threshold=limit, unit="microseconds a kernel")
        return self.found(
            value=mean,
            threshold=limit,
            unit="microseconds a kernel",
            steps=(trace.first, trace.last),
            subject="kernels",
            cause=(
                f"a step starts {trace.kernels / trace.steps:,.0f} {'kernels' if on_gpu else 'operators'} of "
                f"{mean:.2g} microseconds each, and none runs for {idle:.0f} % of the {1e3 * computing:.3g} ms in "
                f"which it computes{_most_frequent(trace)}"
            ),
            confidence=0.8,
            evidence=_evidence(profile, trace),
            **_remedy(view, on_gpu),
        )


def _computing_seconds(profile: Profile, trace: Trace) -> float:
    """Return the seconds of the training thread in a step that was not traced; of the trace if no phase was timed."""
    steps = timed_steps(profile)
    steps = steps.select((steps.steps < trace.first) | (steps.steps > trace.last))
    phases = [steps.phase(name) for name in _COMPUTING]
    medians = [float(np.median(column[np.isfinite(column)])) for column in phases if np.isfinite(column).any()]
    return sum(medians) or trace.seconds / trace.steps


def _most_frequent(trace: Trace) -> str:
    operator = max(trace.operators, key=lambda operator: operator.calls, default=None)
    if operator is None or not operator.calls:
        return ""
    return f"; most frequently {operator.name}, {operator.calls / trace.steps:.0f} times a step"


def _evidence(profile: Profile, trace: Trace) -> Series:
    steps = timed_steps(profile)
    if len(steps):
        return Series.of("seconds of a step", steps.steps, steps.seconds)
    return Series.of("seconds of a traced step", [trace.first, trace.last], [trace.seconds / trace.steps] * 2)


def _remedy(view: RunView, on_gpu: bool) -> dict[str, Any]:
    """Return a `fix` that makes kernels larger and `advice` that makes them fewer, as arguments of `found`."""
    settings, machine = view.context.settings, view.profile.machine
    size = view.context.batch_size or machine.batch_size
    memory = view.profile.within(view.profile.gauge("gpu0.memory")).values
    fix: dict[str, Any] = {}
    if settings and size and not (len(memory) and memory.max() > MAX_MEMORY_FOR_TWICE):
        fix["batch_size"] = 2 * size
    if settings and machine.channels_last is False:
        fix["channels_last"] = "on"  # saves the kernels that convert the layout before and after a convolution
    larger = "" if settings else "Use larger batches. "
    means = "torch.compile, a fused optimizer or CUDA graphs" if on_gpu else "torch.compile or a fused optimizer"
    return {"fix": fix, "advice": f"{larger}Start fewer kernels with {means}."}
