"""OverallFrameworkMetrics: the time of training, phase by phase."""

from __future__ import annotations

import numpy as np

from clearsight.core.finding import Finding, Series
from clearsight.core.profile import Profile
from clearsight.core.view import RunView
from clearsight.profiler.rules.speed_rule import SpeedRule


class OverallFrameworkMetrics(SpeedRule):
    """Never finds anything: it reports the durations of the phases of steps and of the spans between steps.

    The evidence is a series per phase in seconds of each step, that of whole steps first, and one per kind of span
    (initialisation, validation, checkpoint) in seconds of each, at the step at which it began. Its value is the share
    of the time, from the start of the process if that is known, that was spent in training steps. SageMaker's rule of
    this name reports the same without the backward pass.
    """

    points = 1

    def verdict(self, view: RunView) -> Finding:
        profile = view.profile
        table = profile.steps()
        if not len(table):
            return self.not_enough_data(have=0)
        durations = {"step": table.seconds, **{name: profile.phase(name) for name in profile.phases()}}
        series: list[Series] = []
        for name, seconds in durations.items():
            known = np.isfinite(seconds)
            series.append(Series.of(f"{name}, seconds", table.steps[known], seconds[known]))
        for name in dict.fromkeys(span.name for span in profile.all_spans if span.rank == 0):
            spans = profile.spans(name)
            series.append(Series.of(f"{name}, seconds", [s.step for s in spans], [s.seconds for s in spans]))
        return self.clear(value=100 * _share(profile), unit="% of the time in training steps", evidence=tuple(series))


def _share(profile: Profile) -> float:
    """Return the share of the time so far that was spent in training steps, in [0, 1]."""
    table = profile.steps()
    # Spans may begin before the first step, as the initialisation does.
    start = min([float(table.starts[0]), *(span.start for span in profile.all_spans if span.rank == 0)])
    end = float(table.starts[-1] + table.seconds[-1])
    return min(1.0, float(table.seconds.sum()) / max(end - start, 1e-9))
