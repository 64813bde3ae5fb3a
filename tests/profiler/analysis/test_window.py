"""A window holds the looks during training steps, and knows how many there must be."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.profile import GaugeSample, Profile
from clearsight.profiler.analysis.window import gpus, in_use, others, waited, waiting, window
from clearsight.testing.profiles import healthy_gpu, profile, profiled


def test_looks_before_between_and_behind_steps_are_left_out() -> None:
    measured = profile(
        steps=100, seconds=0.1, gauges={"cpu": 50}, initialisation=10, pauses={"validation": {50: 5.0, 100: 5.0}}
    )
    looks = window(profiled(measured), ("cpu",))
    assert len(measured.looks) > 60
    assert len(looks) == pytest.approx(20, abs=2)
    assert looks.span[0] == 1
    assert looks.span[1] >= 95


def test_the_time_between_a_run_and_its_continuation_is_left_out() -> None:
    first, second = profile(steps=50, gauges={"cpu": 50}), profile(steps=50, start=1_700_000_600.0)
    idle = [GaugeSample(time=1_700_000_100.0 + i, values={"cpu": 0.0}) for i in range(300)]
    whole = Profile(first.machine, [*first.looks, *idle], [*first.timed, *second.timed], first.stretches)
    looks = window(profiled(whole), ("cpu",))
    assert looks.values["cpu"].min() == 50


def test_gauges_of_one_window_were_read_together() -> None:
    both = profile(steps=100, gauges={"cpu": [1, np.nan, 3, 4], "gpu0": [1, 2, np.nan, 4]})
    looks = window(profiled(both), ("cpu", "gpu0"))
    assert sorted(set(looks.values["cpu"])) == sorted(set(looks.values["gpu0"])) == [1, 4]
    assert len(looks) == len(looks.steps) == len(looks.values["cpu"])


def test_a_gauge_that_is_not_there_gives_no_looks() -> None:
    looks = window(profiled(profile(gauges={"cpu": 5})), ("cpu", "gpu0"))
    assert (len(looks), looks.have, looks.enough) == (0, 0, False)


def test_a_window_is_the_newest_looks_and_remembers_how_many_there_were() -> None:
    measured = profile(steps=200, gauges={"cpu": np.arange(41.0)})
    looks = window(profiled(measured), ("cpu",), length=10)
    assert len(looks) == 10
    assert looks.have == pytest.approx(41, abs=1)
    assert looks.values["cpu"][-1] >= 39


def test_it_waits_for_a_fifth_of_the_planned_run() -> None:
    measured = profile(steps=200, gauges={"cpu": 5})  # some 41 looks
    assert window(profiled(measured), ("cpu",)).wanted == 20
    assert window(profiled(measured, facts=RunContext(steps=2000), ended=False), ("cpu",)).wanted == pytest.approx(
        81, abs=3
    )
    assert window(profiled(measured, facts=RunContext(steps=2000), ended=True), ("cpu",)).wanted == 20
    assert window(profiled(measured, facts=RunContext(steps=10**6), ended=False), ("cpu",)).wanted == 1000
    assert window(profiled(measured), ("cpu",), patience=300).wanted == 300


def test_waiting_is_the_share_of_all_time_behind_the_warm_up() -> None:
    data = np.full(103, 0.02)
    data[:3] = 0.1
    assert waiting(profile(steps=103, seconds=0.1, phases={"data": data, "transfer": 0.01})) == pytest.approx(0.3)
    assert waiting(profile(steps=103, phases={"forward": 0.1})) is None
    assert np.isnan(waited(profile(steps=5, phases={"forward": 0.1}))).all()


def test_others_take_cores_only_where_none_is_idle() -> None:
    assert others(profiled(profile(gauges={"cpu": 98, "tree.cpu": 60}))) == pytest.approx(38)
    assert others(profiled(profile(gauges={"cpu": 70, "tree.cpu": 30}))) == 0
    assert others(profiled(profile(gauges={"tree.cpu": 30}))) == 0


def test_gpus_are_in_use_where_they_do_anything() -> None:
    assert gpus(profile(gauges={"cpu": 5})) == ()
    assert in_use(healthy_gpu(gpus=2)) == ("gpu0", "gpu1")
    assert in_use(profile(gauges={"gpu0": 50, "gpu1": 0})) == ("gpu0",)
    assert in_use(profile(gauges={"gpu0": 0, "gpu1": 0})) == ("gpu0", "gpu1")
