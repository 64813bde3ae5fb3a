"""MaxInitializationTime compares the start of a run with its length."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.context import RunContext
from clearsight.core.profile import GaugeSample, Machine, Profile, Span
from clearsight.profiler.rules.max_initialization_time import MaxInitializationTime
from clearsight.testing.profiles import START, profile, profiled
from clearsight.testing.rules import only, verdict
from tests.profiler.rules.sagemaker_rule_faults import cpu, slow_start


def started_after(seconds: float, *, steps: int = 300) -> Profile:
    return profile(steps=steps, seconds=0.2, gauges={"cpu": 12.0}, initialisation=seconds)


def test_found_when_the_start_takes_longer_than_training() -> None:
    finding = only(MaxInitializationTime(), slow_start())
    assert finding.found
    assert (finding.value, finding.threshold) == (pytest.approx(3), 1)
    assert "the cores were used to 12 % meanwhile" in finding.cause


def test_a_minute_is_always_allowed() -> None:
    assert verdict(MaxInitializationTime(), profiled(started_after(50))) == "clear"


def test_a_quarter_of_the_planned_run_is_allowed() -> None:
    live = profiled(started_after(180), context=RunContext(steps=6000), ended=False)
    assert verdict(MaxInitializationTime(), live) == "clear"
    stopped = profiled(started_after(180), context=RunContext(steps=6000))  # ended early: a short run
    assert verdict(MaxInitializationTime(), stopped) == "found"


def test_never_more_than_sagemakers_twenty_minutes() -> None:
    long = profiled(started_after(1500), context=RunContext(steps=10**7), ended=False)
    assert only(MaxInitializationTime(), long).threshold == 20


def test_the_threshold_is_a_parameter() -> None:
    assert verdict(MaxInitializationTime(threshold=20), slow_start()) == "clear"
    assert verdict(MaxInitializationTime(threshold=0.05), cpu()) == "found"


def test_found_before_the_first_step() -> None:
    machine = Machine(launched=START)
    waiting = Profile(machine, [GaugeSample(time=START + 60.0 * i, values={"cpu": 1.0}) for i in range(30)])
    finding = only(MaxInitializationTime(), profiled(waiting, ended=False))
    assert finding.found
    assert finding.steps == (0, 0)
    assert "there is no first step yet" in finding.cause
    early = Profile(machine, [GaugeSample(time=START + 5, values={"cpu": 1.0})])
    assert verdict(MaxInitializationTime(), profiled(early, ended=False)) == "not-enough-data"


def test_without_a_span_the_launch_of_the_process_counts() -> None:
    measured = started_after(180)
    assert verdict(MaxInitializationTime(), profiled(Profile(measured.machine, (), measured.step_times))) == "found"
    assert verdict(MaxInitializationTime(), profiled(Profile(None, (), measured.step_times))) == "not-enough-data"


def test_our_own_feature_pass_is_work_and_not_a_start() -> None:
    measured = started_after(180)
    start = measured.spans("initialisation")[0]
    features = Span(name="features", start=start.start + 10, seconds=160.0)
    with_pass = Profile(measured.machine, measured.gauge_samples, measured.step_times, [start, features])
    finding = only(MaxInitializationTime(), profiled(with_pass))
    assert not finding.found
    assert finding.value == pytest.approx(20 / 60)
    slow = Profile(measured.machine, (), measured.step_times, [start, replace(features, seconds=60.0)])
    assert verdict(MaxInitializationTime(), profiled(slow)) == "found", "the other two minutes still count"
