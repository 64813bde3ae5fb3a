"""LoadBalancing: the GPUs of a job have different amounts of work."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from clearsight.core.finding import Finding, Severity
from clearsight.core.profile import Floats
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.window import UNUSED_GPU, Window, gpu_gauges, patience_setting, sample_window
from clearsight.profiler.rules.speed_rule import SampleRule

_QUANTILES = np.linspace(0, 100, 101)


class LoadBalancing(SampleRule):
    """Found when the distance between the utilisation of two GPUs, as distributions, is above `threshold`.

    The distance is the earth mover's (first Wasserstein) of the two distributions over 0 to 100 %, as a share: 0.2
    means that 20 points of utilisation would have to move on average. Unlike the distance of SageMaker's rule, it does
    not depend on the bins of a histogram; SageMaker's reports use 0.2, its SDK sends 0.5. A GPU that does nothing at
    all is reported as info: the job does not use it. It needs two GPUs.
    Source: Rubner, Tomasi and Guibas 2000, "The Earth Mover's Distance as a Metric for Image Retrieval".
    """

    threshold: float = setting(0.2, "distance of two GPUs' utilisation", above=0, below=1)
    patience: int | None = patience_setting()

    def verdict(self, view: RunView) -> Finding:
        gpus = gpu_gauges(view.profile)
        # All samples of the run: GPUs that take turns are balanced over a long time only.
        samples = sample_window(view, gpus, length=max(len(view.profile.gauge_samples), 1), patience=self.patience)
        if len(gpus) < 2 or not samples.enough:
            available = samples.available if len(gpus) > 1 else 0
            too_few = f"the machine has {len(gpus)} of the 2 GPUs that the rule needs"
            cause = too_few if view.profile and len(gpus) < 2 else ""
            return self.not_enough_data(have=available, want=samples.required, cause=cause)
        distances = {(a, b): distance(samples.values[a], samples.values[b]) for a, b in combinations(gpus, 2)}
        pair, worst = max(distances.items(), key=lambda entry: entry[1])
        if worst <= self.threshold:
            return self.clear(value=worst, threshold=self.threshold)
        busy, idle = sorted(pair, key=lambda name: -samples.values[name].mean())
        return self._uneven(samples, busy, idle, worst)

    def _uneven(self, samples: Window, busy: str, idle: str, worst: float) -> Finding:
        # One process uses one GPU, so a GPU without any work is the usual case and no fault of the job's balance.
        unused = samples.percentile(idle, 95) <= UNUSED_GPU
        most, least = samples.values[busy].mean(), samples.values[idle].mean()
        return self.found(
            value=worst,
            threshold=self.threshold,
            severity=Severity.INFO if unused else Severity.WARNING,
            steps=samples.step_range,
            subject=idle,
            cause=(
                f"{idle} does nothing while {busy} is used to {most:.0f} % on average"
                if unused
                else f"{busy} is used to {most:.0f} % on average and {idle} to {least:.0f} %"
            ),
            advice=(
                "Use it for another run: training uses one GPU per process."
                if unused
                else "Give every GPU the same number of images of the same size, and collect no results on one alone."
            ),
            evidence=samples.series(busy, idle),
        )


def distance(first: Floats, second: Floats) -> float:
    """Return the earth mover's distance of two sets of percentages, (N,) and (M,), as a share in [0, 1]."""
    # In one dimension it is the mean distance of equal quantiles, whatever the two numbers of samples are.
    return float(np.abs(np.percentile(first, _QUANTILES) - np.percentile(second, _QUANTILES)).mean() / 100)
