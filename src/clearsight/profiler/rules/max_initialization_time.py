"""MaxInitializationTime: it takes long until training begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.format import duration
from clearsight.core.profile import Profile, Span
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.rules.speed_rule import SpeedRule

_LONGEST = 20.0  # minutes; SageMaker's threshold
_SHORTEST = 1.0  # minutes: importing torch and reading a dataset take that long on a slow disk
_SHARE = 0.25  # of the run
_MINUTE = 60.0


class MaxInitializationTime(SpeedRule):
    """Found when more than `threshold` minutes pass from the start of the command, the call or the script to its first
    training step.

    The default is SageMaker's 20 minutes or a quarter of the planned run, whichever is less, but never below one
    minute, because on one's own machine runs are shorter and start often. The rule also judges before the first step,
    if that has not come by then. The pass that computes the features of a frozen backbone does not count: it is the
    work of the epochs, done once.
    """

    points = 1

    threshold: float | None = setting(
        None,
        "longest start [default: 20, or a quarter of the run if that is less, at least 1]",
        above=0,
        unit="minutes",
    )

    def verdict(self, view: RunView) -> Finding:
        profile = view.profile
        table, seconds = profile.steps(), _initialisation(profile)
        if seconds is None:
            return self.not_enough_data(have=0)
        limit = self.threshold if self.threshold is not None else _default_threshold(view, seconds)
        if seconds <= limit * _MINUTE:
            if len(table):
                return self.clear(value=seconds / _MINUTE, threshold=limit, unit="minutes")
            return self.not_enough_data(have=0)  # the start goes on and may still become too long
        first = int(table.steps[0]) if len(table) else 0
        passed = "passed before the first step" if len(table) else "have passed and there is no first step yet"
        return self.found(
            value=seconds / _MINUTE,
            threshold=limit,
            unit="minutes",
            steps=(0, first),
            cause=f"{duration(seconds)} {passed}{_use_of_cores(profile)}",
            advice=(
                "Look at the work before training, such as counting or copying files, downloading weights or "
                "compiling, and keep its results between runs."
            ),
            evidence=Series.of("minutes to the first step", [first], [seconds / _MINUTE]),
        )


def _initialisation(profile: Profile) -> float | None:
    """Return the seconds to the first step, or until now if it has not come; None if unknown."""
    if starts := profile.spans("initialisation"):
        passes = profile.spans("features")
        # A run that was resumed has one span per start.
        return max(max(0.0, start.seconds - _within(passes, start)) for start in starts)
    table, launched = profile.steps(), profile.machine.launched
    if not launched:
        return None
    if len(table):
        return max(0.0, float(table.starts[0]) - launched)
    if profile.spans("features"):
        return None  # it has just been done: the first step is next, and its span tells the duration
    return max(0.0, profile.gauge_samples[-1].time - launched) if profile.gauge_samples else None


def _within(passes: Sequence[Span], start: Span) -> float:
    """Return the seconds of the spans `passes` that began within the span `start`."""
    return sum(span.seconds for span in passes if start.start <= span.start < start.start + start.seconds)


def _default_threshold(view: RunView, initialisation: float) -> float:
    """Return the minutes that a start may take in a run of this length. initialisation: seconds."""
    table = view.profile.steps()
    if not len(table):
        return _LONGEST
    trained = float(table.starts[-1] + table.seconds[-1] - table.starts[0])
    done = int(table.steps[-1] - table.steps[0]) + 1
    planned = done if view.ended else max(view.context.steps, done)  # a run that stopped early was a short one
    run = initialisation + trained * planned / done
    return float(np.clip(_SHARE * run / _MINUTE, _SHORTEST, _LONGEST))


def _use_of_cores(profile: Profile) -> str:
    """Return a clause on the use of the cores before the first step; "" if it was not sampled."""
    table = profile.steps()
    end = float(table.starts[0]) if len(table) else float("inf")
    cpu = profile.gauge("cpu")
    early = cpu.values[cpu.times < end]
    return f"; the cores were used to {early.mean():.0f} % meanwhile" if len(early) else ""
