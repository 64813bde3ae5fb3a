"""LoadBalancing: some GPUs work and others do not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from clearsight.core.finding import Finding, Severity
from clearsight.core.profile import Floats
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.window import LEAST, UNUSED, Window, gpus, window

_QUANTILES = np.linspace(0, 100, 101)


class LoadBalancing(Rule):
    """Found when the utilisation of two GPUs is distributed so differently that the distance is above `threshold`.

    The distance is the earth mover's (first Wasserstein) of the two distributions over 0 to 100 %, as a share: 0.2
    means that 20 points of utilisation would have to move on average. It does not depend on where the bins of a
    histogram lie, as the distance of SageMaker's rule does; its reports use 0.2, its SDK sends 0.5. A GPU that does
    nothing at all is told as worth knowing: the job does not use it. It needs two GPUs.
    Source: Rubner, Tomasi and Guibas 2000, "The Earth Mover's Distance as a Metric for Image Retrieval".
    """

    topic = "speed"

    threshold: float = setting(0.2, "distance of two GPUs' utilisation", above=0, below=1)
    patience: int | None = setting(
        None, "looks before it speaks [default: a fifth of the planned run, at least 20]", low=1, unit="looks"
    )

    def needs(self) -> Needs:
        return Needs(counted="looks", points=self.patience or LEAST)

    def check(self, view: RunView) -> Iterator[Finding]:
        there = gpus(view.profile)
        looks = window(view, there, length=max(len(view.profile.looks), 1), patience=self.patience)
        if len(there) < 2 or not looks.enough:
            few = f"{len(there)} of the 2 GPUs that it needs" if view.profile and len(there) < 2 else ""
            yield self.not_enough_data(
                have=looks.have if len(there) > 1 else 0, want=looks.wanted, cause=few
            )  # fmt: skip
            return
        pairs = {(a, b): distance(looks.values[a], looks.values[b]) for a, b in combinations(there, 2)}
        (one, other), worst = max(pairs.items(), key=lambda pair: pair[1])
        if worst <= self.threshold:
            yield self.clear(value=worst, threshold=self.threshold)
            return
        busy, idle = sorted((one, other), key=lambda name: -looks.values[name].mean())
        yield self._uneven(looks, busy, idle, worst)

    def _uneven(self, looks: Window, busy: str, idle: str, worst: float) -> Finding:
        unused = looks.percentile(idle, 95) <= UNUSED
        most, least = looks.values[busy].mean(), looks.values[idle].mean()
        return self.found(
            value=worst,
            threshold=self.threshold,
            severity=Severity.INFO if unused else Severity.WARNING,
            steps=looks.span,
            subject=idle,
            cause=(
                f"{idle} does nothing while {busy} is used to {most:.0f} % on average"
                if unused
                else f"{busy} is used to {most:.0f} % on average and {idle} to {least:.0f} %"
            ),
            advice=(
                "Give it to another run: training uses one GPU per process."
                if unused
                else "Give every GPU the same number of images of the same size, and let no one collect the results."
            ),
            evidence=looks.series(busy, idle),
        )


def distance(one: Floats, other: Floats) -> float:
    """Earth mover's distance of two sets of percentages, as a share in [0, 1]."""
    return float(np.abs(np.percentile(one, _QUANTILES) - np.percentile(other, _QUANTILES)).mean() / 100)
