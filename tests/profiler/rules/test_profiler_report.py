"""ProfilerReport runs all rules about speed, with parameters in SageMaker's spelling."""

from __future__ import annotations

import pytest

from clearsight.core.errors import BadChoice, BadValue
from clearsight.profiler.rules import PROFILER_RULES
from clearsight.profiler.rules.profiler_report import ProfilerReport
from clearsight.testing.profiles import Machine, profile, profiled
from clearsight.testing.rules import only, verdict
from tests.profiler.rules.sagemaker_rule_faults import cpu, full_cores, gpu, small_batches


def test_found_when_any_rule_found_something() -> None:
    finding = only(ProfilerReport(), small_batches())
    assert finding.found
    assert "BatchSize" in finding.cause
    assert finding.fix == {"batch_size": 64}
    assert "BatchSize" in finding.because


def test_root_causes_come_first() -> None:
    because = only(ProfilerReport(), full_cores()).because
    assert because.index("CPUBottleneck") < because.index("LowGPUUtilization")
    assert because.index("DataWait") < because.index("LowGPUUtilization")


def test_clear_when_no_rule_did() -> None:
    assert [verdict(ProfilerReport(), run) for run in (cpu(), gpu())] == ["clear", "clear"]


def test_not_enough_data_when_no_rule_has_enough() -> None:
    finding = only(ProfilerReport(), profiled(profile(steps=0, machine=Machine())))
    assert finding.verdict == "not-enough-data"


def test_takes_parameters_of_other_rules() -> None:
    rule = ProfilerReport.parse({"CPUBottleneck_cpu_threshold": "95", "BatchSize_patience": 1000})
    assert rule.parameters() == {
        "overrides": {"CPUBottleneck": {"cpu_threshold": "95"}, "BatchSize": {"patience": 1000}}
    }
    assert "BatchSize" in only(ProfilerReport(), small_batches()).because
    assert "BatchSize" not in only(rule, small_batches()).because


def test_unknown_rules_and_parameters_are_errors() -> None:
    with pytest.raises(BadChoice, match="CPUBottleneck_cpu_threshold"):
        ProfilerReport.parse({"CPUBottlneck_cpu_threshold": 95})
    with pytest.raises(BadChoice, match="cpu_threshold"):
        ProfilerReport.parse({"CPUBottleneck_cpu_treshold": 95})
    with pytest.raises(BadValue, match="cpu_threshold"):
        ProfilerReport.parse({"CPUBottleneck_cpu_threshold": 950})


def test_the_rule_is_optional() -> None:
    assert ProfilerReport.optional
    assert "ProfilerReport" in PROFILER_RULES.names()
