"""OverallFrameworkMetrics: where the time of training went, phase by phase."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.profile import Profile
from clearsight.core.rule import Needs, Rule
from clearsight.core.view import RunView


class OverallFrameworkMetrics(Rule):
    """Never finds anything: it reports how long the phases of steps and the stretches between them took.

    The evidence is a series per phase in seconds of each step, that of whole steps first, and one per kind of stretch
    (initialisation, validation, checkpoint) in seconds of each, at the step at which it began. Its value is the share
    of the time, from the start of the process where that is known, that passed in training steps. SageMaker's rule of
    this name reports the same and knows no backward pass.
    """

    topic = "speed"

    def needs(self) -> Needs:
        return Needs(counted="timed", points=1)

    def check(self, view: RunView) -> Iterator[Finding]:
        profile = view.profile
        table = profile.steps()
        if not len(table):
            yield self.not_enough_data(have=0)
            return
        spent = {"step": table.seconds, **{name: profile.phase(name) for name in profile.phases()}}
        series = []
        for name, seconds in spent.items():
            known = np.isfinite(seconds)
            series.append(Series.of(f"{name}, seconds", table.steps[known], seconds[known]))
        yield self.clear(
            value=100 * _share(profile),
            unit="% of the time in training steps",
            evidence=(*series, *_stretches(profile)),
        )


def _share(profile: Profile) -> float:
    """Share of the time so far in training steps, in [0, 1]."""
    table = profile.steps()
    begun = min([float(table.starts[0]), *(span.start for span in profile.stretches if span.rank == 0)])
    end = float(table.starts[-1] + table.seconds[-1])
    return min(1.0, float(table.seconds.sum()) / max(end - begun, 1e-9))


def _stretches(profile: Profile) -> Iterator[Series]:
    for name in dict.fromkeys(span.name for span in profile.stretches if span.rank == 0):
        spans = profile.spans(name)
        yield Series.of(f"{name}, seconds", [span.step for span in spans], [span.seconds for span in spans])
