"""Conditions of SageMaker's profiler rules, on metrics of a machine with and without GPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clearsight.testing.profiles import CPU_MACHINE, GPU_MACHINE, profile
from clearsight_sagemaker.rules.parameters import profiler_parameters, report_parameters
from clearsight_sagemaker.rules.profiling.profiler_conditions import judge_rule
from clearsight_sagemaker.run_profile import RunProfile

BUSY = {"cpu": 50, "cpu.iowait": 0, "gpu0": 95, "gpu0.memory": 80}
UNEVEN = {"gpu0": 95, "gpu1": 5}


@pytest.mark.parametrize(
    ("rule", "gauges", "found"),
    [
        ("BatchSize", BUSY, "clear"),
        ("BatchSize", {"cpu": 20, "gpu0": 30, "gpu0.memory": 10}, "found"),
        ("CPUBottleneck", BUSY, "clear"),
        ("CPUBottleneck", BUSY | {"cpu": 99, "gpu0": 5}, "found"),
        ("IOBottleneck", BUSY | {"cpu.iowait": 60, "gpu0": 5}, "found"),
        ("IOBottleneck", BUSY | {"cpu.iowait": 60}, "clear"),
        ("GPUMemoryIncrease", BUSY, "clear"),
        ("GPUMemoryIncrease", BUSY | {"gpu0.memory": np.repeat([10, 90], 100)}, "found"),
        ("LoadBalancing", BUSY, "not-enough-data"),
        ("LoadBalancing", UNEVEN, "found"),
        ("LoadBalancing", UNEVEN | {"gpu1": 95}, "clear"),
        ("LowGPUUtilization", BUSY, "clear"),
        ("LowGPUUtilization", BUSY | {"gpu0": 20}, "found"),
        ("LowGPUUtilization", BUSY | {"gpu0": np.tile([95, 5], 100)}, "found"),
        ("LowGPUUtilization", {"cpu": 5}, "not-enough-data"),
        ("OverallSystemUsage", BUSY, "clear"),
    ],
)
def test_when_a_rule_is_met(rule: str, gauges: dict[str, Any], found: str) -> None:
    values = {"patience": "0"} if "patience" in profiler_parameters(rule, {}) else {}
    measured = profile(steps=200, seconds=0.5, gauges=gauges, machine=GPU_MACHINE if "gpu0" in gauges else CPU_MACHINE)
    run = RunProfile(name="job", profile=measured, findings={}, rules={}, whole_job=True)
    assert judge_rule(run, rule, profiler_parameters(rule, values)).verdict.value == found


def test_steps_that_take_much_longer() -> None:
    seconds = np.full(200, 0.1)
    measured = profile(steps=200, seconds=seconds, gauges=BUSY)
    run = RunProfile(name="job", profile=measured, findings={}, rules={}, whole_job=True)
    assert not judge_rule(run, "StepOutlier", profiler_parameters("StepOutlier", {})).found
    seconds[50:200:25] = 2.0
    slow = RunProfile(name="job", profile=profile(steps=200, seconds=seconds), findings={}, rules={}, whole_job=True)
    finding = judge_rule(slow, "StepOutlier", profiler_parameters("StepOutlier", {"n_outliers": "5"}))
    assert finding.found
    assert finding.value == 6


def test_a_short_job_is_told_what_the_rule_would_find() -> None:
    measured = profile(steps=100, seconds=0.5, gauges=BUSY | {"gpu0": 20}, machine=GPU_MACHINE)
    run = RunProfile(name="job", profile=measured, findings={}, rules={}, whole_job=True)
    finding = judge_rule(run, "LowGPUUtilization", profiler_parameters("LowGPUUtilization", {}))
    assert finding.verdict.value == "not-enough-data"
    assert "patience=1000" in finding.cause
    assert "It would find: the use of gpu0 reaches at most 20 %" in finding.cause


def test_parameters_of_a_report() -> None:
    values = report_parameters({"CPUBottleneck_threshold": "80", "stepoutlier_stddev": "5", "scan_interval_us": "6"})
    assert values["CPUBottleneck"]["threshold"] == 80
    assert values["StepOutlier"] == {"stddev": 5, "n_outliers": 10}
    for wrong in ("CPUBottleneck_treshold", "Overfit_patience", "threshold"):
        with pytest.raises(ValueError, match=wrong.partition("_")[2] or "threshold"):
            report_parameters({wrong: "1"})
