"""OverallSystemUsage: the use of the machine, in percentiles."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from clearsight.core.finding import Finding, Series
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.profiler.analysis.window import gpu_gauges
from clearsight.profiler.rules.speed_rule import SpeedRule

Percentile = Annotated[int, Field(ge=0, le=100)]

_MIN_SAMPLES = 2  # all percentiles of a single sample are equal
_GAUGES = (
    "cpu", "cpu.iowait", "tree.cpu", "memory", "tree.memory", "swap", "shm", "disk.read", "disk.write", "net.received",
    "net.sent",
)  # fmt: skip
_GAUGES_OF_A_GPU = ("", ".memory", ".power")  # behind its name; "" is the utilisation


class OverallSystemUsage(SpeedRule):
    """Never finds anything: it reports the use of the machine, as SageMaker's rule of this name does.

    The evidence is one series per gauge, whose values stand at the percentiles instead of steps: smallest (0), 50th,
    95th, 99th and largest (100). Its value is the median use of the device. Only the time from the first training step
    to the last counts, validation included; SageMaker counts the start of the job too.
    """

    counted = "samples"
    points = _MIN_SAMPLES

    percentiles: tuple[Percentile, ...] = setting((0, 50, 95, 99, 100), "percentiles that are reported")

    def verdict(self, view: RunView) -> Finding:
        profile = view.profile
        names = [*_GAUGES, *(f"{gpu}{suffix}" for gpu in gpu_gauges(profile) for suffix in _GAUGES_OF_A_GPU)]
        during = {name: profile.within(profile.gauge(name)).values for name in names}
        sampled = {name: values for name, values in during.items() if len(values) >= _MIN_SAMPLES}
        if not sampled:
            return self.not_enough_data(have=max((len(values) for values in during.values()), default=0))
        device = next((sampled[name] for name in profile.devices() if name in sampled), None)
        return self.clear(
            value=None if device is None else float(np.median(device)),
            unit="% of the device, median",
            evidence=tuple(
                Series(name, self.percentiles, tuple(float(v) for v in np.percentile(values, self.percentiles)))
                for name, values in sampled.items()
            ),
        )
