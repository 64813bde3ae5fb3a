"""Idleness is the GPU's where there is one, else that of a training thread that waits."""

from __future__ import annotations

import numpy as np

from clearsight.profiler.analysis.idleness import idleness
from clearsight.testing.profiles import profile, profiled
from tests.profiler.rules.faults_d import WAITING


def test_a_gpu_is_idle_below_the_threshold() -> None:
    seen = idleness(profiled(profile(gauges={"cpu": 50, "gpu0": [5, 90]})), "cpu", gpu_below=10, patience=None)
    assert 0.4 < seen.idle.mean() < 0.6
    assert seen.how == "the GPU was below 10 %"


def test_of_several_gpus_the_mean_counts() -> None:
    seen = idleness(profiled(profile(gauges={"cpu": 5, "gpu0": 5, "gpu1": 90})), "cpu", gpu_below=10, patience=None)
    assert not seen.idle.any()
    assert seen.how == "the GPUs were below 10 %"


def test_without_a_gpu_the_training_thread_is_idle_while_it_waits() -> None:
    seen = idleness(
        profiled(profile(seconds=0.2, phases=WAITING, gauges={"cpu": 5})), "cpu", gpu_below=10, patience=None
    )
    assert seen.idle.all()
    assert len(seen.looks) == len(seen.idle) > 50


def test_looks_at_steps_that_were_not_timed_are_left_out() -> None:
    half = [0.15, np.nan] * 100
    seen = idleness(
        profiled(profile(seconds=0.2, phases={"data": half}, gauges={"cpu": 5})), "cpu", gpu_below=10, patience=None
    )
    assert seen.idle.all()
    assert len(seen.looks) == seen.looks.have
    assert (seen.looks.steps % 2 == 1).all()
