"""OverallFrameworkMetrics reports the time of phases and spans, and finds nothing."""

from __future__ import annotations

import pytest

from clearsight.profiler.rules.overall_framework_metrics import OverallFrameworkMetrics
from clearsight.testing.profiles import profile, profiled
from clearsight.testing.rules import only


def test_gives_the_seconds_of_steps_phases_and_spans() -> None:
    measured = profile(
        steps=100,
        seconds=0.1,
        phases={"forward": 0.03, "backward": 0.05},
        pauses={"validation": {50: 2.0, 100: 3.0}},
        initialisation=8.0,
    )
    finding = only(OverallFrameworkMetrics(), profiled(measured))
    assert finding.verdict == "clear"
    series_by_name = {series.name: series for series in finding.evidence}
    assert [*series_by_name] == [
        "step, seconds",
        "forward, seconds",
        "backward, seconds",
        "initialisation, seconds",
        "validation, seconds",
    ]
    assert series_by_name["backward, seconds"].values == pytest.approx([0.05] * 100)
    assert series_by_name["validation, seconds"].steps == (50, 100)
    assert series_by_name["validation, seconds"].values == (2.0, 3.0)


def test_the_value_is_the_share_of_training_steps() -> None:
    measured = profile(steps=100, seconds=0.1, pauses={"validation": {50: 2.0}}, initialisation=8.0)
    assert only(OverallFrameworkMetrics(), profiled(measured)).value == pytest.approx(100 * 10 / 20)


def test_without_a_timed_step_there_is_not_enough_data() -> None:
    assert only(OverallFrameworkMetrics(), profiled(profile(steps=0, gauges={"cpu": 3}))).verdict == "not-enough-data"
