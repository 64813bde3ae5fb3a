"""Readers say what making the batches costs, and whether more of them would find a core."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clearsight.core.profile import Machine
from clearsight.profiler.analysis.loader_cost import idle_cores, loader_cost, more_loader_workers
from clearsight.profiler.analysis.timed_steps import timed_steps
from clearsight.testing.profiles import CPU_MACHINE, profile


def test_parts_add_up_over_the_steps() -> None:
    made = loader_cost(timed_steps(profile(steps=13, load={"read": 0.02, "decode": 0.06, "images": 32, "bytes": 1e6})))
    assert made.parts == pytest.approx({"read": 0.2, "decode": 0.6})
    assert (made.images, made.bytes) == (320, 1e7)
    assert made.busy == pytest.approx(0.8)
    assert made.dearest == "decode"
    assert made.share("read") == pytest.approx(0.25)
    assert made.share("augment") == 0


def test_unknown_readers_are_unknown() -> None:
    made = loader_cost(timed_steps(profile(steps=13)))
    assert made.parts == {}
    assert made.dearest == ""
    assert np.isnan([made.busy, made.images, made.bytes]).all()


def test_idle_cores_are_those_of_the_median_look() -> None:
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
def test_more_readers_where_a_core_is_left(machine: Machine, idle: float, more: int | None) -> None:
    assert more_loader_workers(machine, idle) == more
