"""Breakdown of a run: seconds of its steps and phases, and quantiles of its gauges."""

from __future__ import annotations

import json

import pytest

from clearsight.core.finding import Finding, Verdict
from clearsight.core.profile import GaugeSample, Profile, StepTimes
from clearsight.workflow.speed.breakdown import Breakdown

STEPS = [
    StepTimes(step=i + 1, epoch=1, start=100.0 + i, seconds=1.0, samples=8, phases={"data": 0.25, "forward": 0.5})
    for i in range(4)
]
GAUGES = [GaugeSample(time=100.0 + i, values={"cpu": 10.0 * i}) for i in range(-5, 4)]


def test_steps_phases_and_gauges_of_a_run() -> None:
    breakdown = Breakdown(profile=Profile(None, GAUGES, STEPS), findings=[]).to_json()
    assert breakdown["steps"] == {
        "count": 4.0,
        "samples": 32.0,
        "mean": 1.0,
        "p50": 1.0,
        "p95": 1.0,
        "max": 1.0,
        "images_per_second": 8.0,
    }
    assert {name: phase["share"] for name, phase in breakdown["phases"].items()} == {
        "data": 0.25,
        "forward": 0.5,
        "rest": 0.25,
    }
    assert set(breakdown["phases"]["data"]) == {"mean", "p50", "p95", "share"}
    assert breakdown["gauges"]["cpu"] == pytest.approx({"min": 0, "p50": 15, "p95": 28.5, "p99": 29.7, "max": 30})
    assert json.dumps(breakdown, allow_nan=False)


def test_without_steps_all_gauge_samples_count() -> None:
    breakdown = Breakdown(profile=Profile(None, GAUGES), findings=[]).to_json()
    assert breakdown["steps"] == {"count": 0.0, "samples": 0.0}
    assert breakdown["phases"] == {}
    assert breakdown["gauges"]["cpu"]["min"] == -50


def test_a_nan_of_a_finding_is_null() -> None:
    finding = Finding(rule="DataWait", verdict=Verdict.CLEAR, value=float("nan"))
    breakdown = Breakdown(profile=Profile(), findings=[finding]).to_json()["findings"]
    assert breakdown[0]["value"] is None
    assert "evidence" not in breakdown[0]
