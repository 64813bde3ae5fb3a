"""LoaderCost adds up the work of loader workers; more of them are proposed only if a core is free."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clearsight.core.profile import Machine
from clearsight.profiler.analysis.loader_cost import idle_cores, loader_cost, more_loader_workers
from clearsight.profiler.analysis.timed_steps import timed_steps
from clearsight.testing.profiles import CPU_MACHINE, profile


def test_parts_add_up_over_the_steps() -> None:
    cost = loader_cost(timed_steps(profile(steps=13, load={"read": 0.02, "decode": 0.06, "images": 32, "bytes": 1e6})))
    assert cost.parts == pytest.approx({"read": 0.2, "decode": 0.6})
    assert (cost.images, cost.bytes) == (320, 1e7)
    assert cost.busy == pytest.approx(0.8)
    assert cost.costliest == "decode"
    assert cost.share("read") == pytest.approx(0.25)
    assert cost.share("augment") == 0


def test_without_timed_loading_everything_is_unknown() -> None:
    cost = loader_cost(timed_steps(profile(steps=13)))
    assert cost.parts == {}
    assert cost.costliest == ""
    assert np.isnan([cost.busy, cost.images, cost.bytes]).all()


def test_idle_cores_are_those_of_the_median_sample() -> None:
    assert idle_cores(profile(gauges={"cpu": 75.0})) == pytest.approx(2.0)
    assert np.isnan(idle_cores(profile()))


@pytest.mark.parametrize(
    ("machine", "idle", "more"),
    [
        (replace(CPU_MACHINE, workers=2), 4.0, 4),
        (replace(CPU_MACHINE, workers=2), float("nan"), 4),
        (replace(CPU_MACHINE, workers=2), 0.3, None),
        (replace(CPU_MACHINE, workers=6), 4.0, 8),
        (replace(CPU_MACHINE, workers=8), 4.0, None),
        (replace(CPU_MACHINE, workers=0), 0.0, 8),
        (replace(CPU_MACHINE, workers=0, cores=1), 0.0, None),
        (replace(CPU_MACHINE, workers=0, cores=1, device="cuda"), 0.0, 1),
        (replace(CPU_MACHINE, workers=None), 4.0, None),
        (Machine(workers=2), 4.0, None),
    ],
)
def test_more_workers_if_a_core_is_free(machine: Machine, idle: float, more: int | None) -> None:
    assert more_loader_workers(machine, idle) == more
