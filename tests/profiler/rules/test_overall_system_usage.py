"""OverallSystemUsage reports percentiles of the gauges during training, and finds nothing."""

from __future__ import annotations

import pytest

from clearsight.core.errors import BadValue
from clearsight.profiler.rules.overall_system_usage import OverallSystemUsage
from clearsight.testing.profiles import profile, profiled
from clearsight.testing.rules import only
from tests.profiler.rules.sagemaker_rule_faults import cpu, gpu, on_gpu


def test_gives_percentiles_of_each_gauge() -> None:
    measured = profile(steps=100, seconds=0.5, gauges={"cpu": [10.0, 20.0, 30.0, 40.0]}, every=0.5, initialisation=0)
    finding = only(OverallSystemUsage(), profiled(measured))
    assert finding.verdict == "clear"
    (series,) = finding.evidence
    assert series.name == "cpu"
    assert series.steps == (0, 50, 95, 99, 100)
    assert series.values[0] == 10
    assert series.values[-1] == 40
    assert list(series.values) == sorted(series.values)


def test_reports_the_gpus_there_are() -> None:
    names = [series.name for series in only(OverallSystemUsage(), gpu()).evidence]
    assert {"cpu", "memory", "gpu0", "gpu0.memory", "disk.read"} <= set(names)
    assert not any(series.name.startswith("gpu") for series in only(OverallSystemUsage(), cpu()).evidence)


def test_the_value_is_the_median_use_of_the_device() -> None:
    assert only(OverallSystemUsage(), on_gpu(gauges={"gpu0": 30.0})).value == pytest.approx(30, abs=1)


def test_the_start_of_the_job_does_not_count() -> None:
    late = profile(steps=20, seconds=0.5, gauges={"cpu": 80.0}, initialisation=100)
    assert len(late.gauge_samples) > 200
    assert only(OverallSystemUsage(), profiled(late)).evidence[0].values == (80.0,) * 5


def test_percentiles_are_a_parameter() -> None:
    assert only(OverallSystemUsage(percentiles=(10, 90)), gpu()).evidence[0].steps == (10, 90)
    with pytest.raises(BadValue, match="percentiles"):
        OverallSystemUsage.parse({"percentiles": (5, 101)})
