"""Idleness is that of the GPU, or without one that of a training thread that waits."""

from __future__ import annotations

import numpy as np

from clearsight.profiler.rules.idle_device import device_idleness
from clearsight.testing.profiles import profile, profiled
from tests.profiler.rules.sagemaker_rule_faults import WAITING


def test_a_gpu_is_idle_below_the_threshold() -> None:
    result = device_idleness(profiled(profile(gauges={"cpu": 50, "gpu0": [5, 90]})), "cpu", gpu_below=10, patience=None)
    assert 0.4 < result.idle.mean() < 0.6
    assert result.description == "the GPU was below 10 %"


def test_of_several_gpus_the_mean_counts() -> None:
    result = device_idleness(
        profiled(profile(gauges={"cpu": 5, "gpu0": 5, "gpu1": 90})), "cpu", gpu_below=10, patience=None
    )
    assert not result.idle.any()
    assert result.description == "the GPUs were below 10 %"


def test_without_a_gpu_the_training_thread_is_idle_while_it_waits() -> None:
    result = device_idleness(
        profiled(profile(seconds=0.2, phases=WAITING, gauges={"cpu": 5})), "cpu", gpu_below=10, patience=None
    )
    assert result.idle.all()
    assert len(result.samples) == len(result.idle) > 50


def test_samples_at_steps_without_timed_phases_are_left_out() -> None:
    every_other_step = [0.15, np.nan] * 100
    result = device_idleness(
        profiled(profile(seconds=0.2, phases={"data": every_other_step}, gauges={"cpu": 5})),
        "cpu",
        gpu_below=10,
        patience=None,
    )
    assert result.idle.all()
    assert len(result.samples) == result.samples.available
    assert (result.samples.steps % 2 == 1).all()
