"""A window holds the samples during training steps, and knows how many a verdict needs."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.profile import GaugeSample, Profile
from clearsight.profiler.analysis.window import (
    gpu_gauges,
    overall_wait_share,
    sample_window,
    use_by_other_processes,
    used_gpus,
    wait_shares,
)
from clearsight.testing.profiles import healthy_gpu, profile, profiled


def test_samples_before_between_and_after_steps_are_left_out() -> None:
    measured = profile(
        steps=100, seconds=0.1, gauges={"cpu": 50}, initialisation=10, pauses={"validation": {50: 5.0, 100: 5.0}}
    )
    samples = sample_window(profiled(measured), ("cpu",))
    assert len(measured.gauge_samples) > 60
    assert len(samples) == pytest.approx(20, abs=2)
    assert samples.step_range[0] == 1
    assert samples.step_range[1] >= 95


def test_the_time_between_a_run_and_its_continuation_is_left_out() -> None:
    first, second = profile(steps=50, gauges={"cpu": 50}), profile(steps=50, start=1_700_000_600.0)
    idle = [GaugeSample(time=1_700_000_100.0 + i, values={"cpu": 0.0}) for i in range(300)]
    steps = [*first.step_times, *second.step_times]
    continued = Profile(first.machine, [*first.gauge_samples, *idle], steps, first.all_spans)
    samples = sample_window(profiled(continued), ("cpu",))
    assert samples.values["cpu"].min() == 50


def test_gauges_of_one_window_were_read_together() -> None:
    both = profile(steps=100, gauges={"cpu": [1, np.nan, 3, 4], "gpu0": [1, 2, np.nan, 4]})
    samples = sample_window(profiled(both), ("cpu", "gpu0"))
    assert sorted(set(samples.values["cpu"])) == sorted(set(samples.values["gpu0"])) == [1, 4]
    assert len(samples) == len(samples.steps) == len(samples.values["cpu"])


def test_an_absent_gauge_gives_no_samples() -> None:
    samples = sample_window(profiled(profile(gauges={"cpu": 5})), ("cpu", "gpu0"))
    assert (len(samples), samples.available, samples.enough) == (0, 0, False)


def test_a_window_holds_the_newest_samples_and_the_number_of_all() -> None:
    measured = profile(steps=200, gauges={"cpu": np.arange(41.0)})
    samples = sample_window(profiled(measured), ("cpu",), length=10)
    assert len(samples) == 10
    assert samples.available == pytest.approx(41, abs=1)
    assert samples.values["cpu"][-1] >= 39


def test_a_verdict_needs_a_fifth_of_the_samples_of_the_planned_run() -> None:
    measured = profile(steps=200, gauges={"cpu": 5})  # some 41 samples
    assert sample_window(profiled(measured), ("cpu",)).required == 20
    assert sample_window(
        profiled(measured, context=RunContext(steps=2000), ended=False), ("cpu",)
    ).required == pytest.approx(81, abs=3)
    assert sample_window(profiled(measured, context=RunContext(steps=2000), ended=True), ("cpu",)).required == 20
    assert sample_window(profiled(measured, context=RunContext(steps=10**6), ended=False), ("cpu",)).required == 1000
    assert sample_window(profiled(measured), ("cpu",), patience=300).required == 300


def test_the_overall_wait_is_a_share_of_the_time_after_the_warm_up() -> None:
    data = np.full(103, 0.02)
    data[:3] = 0.1
    assert overall_wait_share(
        profile(steps=103, seconds=0.1, phases={"data": data, "transfer": 0.01})
    ) == pytest.approx(0.3)
    assert overall_wait_share(profile(steps=103, phases={"forward": 0.1})) is None
    assert np.isnan(wait_shares(profile(steps=5, phases={"forward": 0.1}))).all()


def test_other_processes_count_only_if_no_core_is_idle() -> None:
    assert use_by_other_processes(profiled(profile(gauges={"cpu": 98, "tree.cpu": 60}))) == pytest.approx(38)
    assert use_by_other_processes(profiled(profile(gauges={"cpu": 70, "tree.cpu": 30}))) == 0
    assert use_by_other_processes(profiled(profile(gauges={"tree.cpu": 30}))) == 0


def test_a_gpu_is_used_if_it_does_anything() -> None:
    assert gpu_gauges(profile(gauges={"cpu": 5})) == ()
    assert used_gpus(healthy_gpu(gpus=2)) == ("gpu0", "gpu1")
    assert used_gpus(profile(gauges={"gpu0": 50, "gpu1": 0})) == ("gpu0",)
    assert used_gpus(profile(gauges={"gpu0": 0, "gpu1": 0})) == ("gpu0", "gpu1")
