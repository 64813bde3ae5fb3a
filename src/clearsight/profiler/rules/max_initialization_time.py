"""MaxInitializationTime: it takes long until training begins."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.profile import Profile
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView

_MOST = 20.0  # minutes; SageMaker's
_LEAST = 1.0
_SHARE = 0.25  # of the run
_MINUTE = 60.0


class MaxInitializationTime(Rule):
    """Found when more than `threshold` minutes pass from the start of the process to its first training step.

    Where no threshold is said it is SageMaker's 20 minutes or a quarter of the planned run, whichever is less, but
    never below one minute: on one's own machine runs are shorter and start often. It also speaks before the first
    step, when that has not come by then.
    """

    topic = "speed"

    threshold: float | None = setting(
        None,
        "longest start [default: 20, or a quarter of the run if that is less, at least 1]",
        above=0,
        unit="minutes",
    )

    def needs(self) -> Needs:
        return Needs(counted="timed", points=1)

    def check(self, view: RunView) -> Iterator[Finding]:
        profile = view.profile
        table, took = profile.steps(), _took(profile)
        if took is None:
            yield self.not_enough_data(have=0)
            return
        border = self.threshold if self.threshold is not None else _border(view, took)
        if took <= border * _MINUTE:
            if len(table):
                yield self.clear(value=took / _MINUTE, threshold=border, unit="minutes")
            else:
                yield self.not_enough_data(have=0)
            return
        first = int(table.steps[0]) if len(table) else 0
        come = "passed before the first step" if len(table) else "have passed and there is no first step yet"
        yield self.found(
            value=took / _MINUTE,
            threshold=border,
            unit="minutes",
            steps=(0, first),
            cause=f"{_time(took)} {come}{_meanwhile(profile)}",
            advice=(
                "Look at what comes before training, such as counting or copying files, downloading weights or "
                "compiling, and keep its results between runs."
            ),
            evidence=Series.of("minutes to the first step", [first], [took / _MINUTE]),
        )


def _took(profile: Profile) -> float | None:
    """Seconds to the first step, or until now where it has not come; None where nobody knows."""
    spans = [span.seconds for span in profile.spans("initialisation")]
    if spans:
        return max(spans)
    table, launched = profile.steps(), profile.machine.launched
    if not launched:
        return None
    if len(table):
        return max(0.0, float(table.starts[0]) - launched)
    return max(0.0, profile.looks[-1].time - launched) if profile.looks else None


def _border(view: RunView, took: float) -> float:
    """Minutes that a start may take where nobody said it."""
    table = view.profile.steps()
    if not len(table):
        return _MOST
    trained = float(table.starts[-1] + table.seconds[-1] - table.starts[0])
    done = int(table.steps[-1] - table.steps[0]) + 1
    planned = done if view.ended else max(view.facts.steps, done)
    whole = took + trained * planned / done
    return float(np.clip(_SHARE * whole / _MINUTE, _LEAST, _MOST))


def _time(seconds: float) -> str:
    return f"{seconds / _MINUTE:.1f} minutes" if seconds >= 2 * _MINUTE else f"{seconds:.0f} seconds"


def _meanwhile(profile: Profile) -> str:
    """What the machine did before the first step."""
    table = profile.steps()
    end = float(table.starts[0]) if len(table) else float("inf")
    cpu = profile.gauge("cpu")
    early = cpu.values[cpu.times < end]
    return f"; the cores were used to {early.mean():.0f} % meanwhile" if len(early) else ""
