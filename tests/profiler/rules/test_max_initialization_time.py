"""MaxInitializationTime knows how long a start may take for a run of this length."""

from __future__ import annotations

import pytest

from clearsight.core.context import RunContext
from clearsight.core.profile import GaugeSample, Machine, Profile
from clearsight.profiler.rules.max_initialization_time import MaxInitializationTime
from clearsight.testing.profiles import START, profile, profiled
from clearsight.testing.rules import only, verdict
from tests.profiler.rules.faults_d import cpu, slow_start


def begun_after(seconds: float, *, steps: int = 300) -> Profile:
    return profile(steps=steps, seconds=0.2, gauges={"cpu": 12.0}, initialisation=seconds)


def test_found_when_the_start_takes_longer_than_training() -> None:
    finding = only(MaxInitializationTime(), slow_start())
    assert finding.found
    assert (finding.value, finding.threshold) == (pytest.approx(3), 1)
    assert "the cores were used to 12 % meanwhile" in finding.cause


def test_a_minute_is_always_borne() -> None:
    assert verdict(MaxInitializationTime(), profiled(begun_after(50))) == "clear"


def test_a_quarter_of_the_planned_run_is_borne() -> None:
    live = profiled(begun_after(180), facts=RunContext(steps=6000), ended=False)
    assert verdict(MaxInitializationTime(), live) == "clear"
    stopped = profiled(begun_after(180), facts=RunContext(steps=6000))  # ended early: what was planned never came
    assert verdict(MaxInitializationTime(), stopped) == "found"


def test_never_more_than_sagemakers_twenty_minutes() -> None:
    long = profiled(begun_after(1500), facts=RunContext(steps=10**7), ended=False)
    assert only(MaxInitializationTime(), long).threshold == 20


def test_what_is_said_is_honoured() -> None:
    assert verdict(MaxInitializationTime(threshold=20), slow_start()) == "clear"
    assert verdict(MaxInitializationTime(threshold=0.05), cpu()) == "found"


def test_speaks_before_the_first_step_has_come() -> None:
    machine = Machine(launched=START)
    waiting = Profile(machine, [GaugeSample(time=START + 60.0 * i, values={"cpu": 1.0}) for i in range(30)])
    finding = only(MaxInitializationTime(), profiled(waiting, ended=False))
    assert finding.found
    assert finding.steps == (0, 0)
    assert "there is no first step yet" in finding.cause
    early = Profile(machine, [GaugeSample(time=START + 5, values={"cpu": 1.0})])
    assert verdict(MaxInitializationTime(), profiled(early, ended=False)) == "not-enough-data"


def test_without_a_span_the_launch_of_the_process_counts() -> None:
    measured = begun_after(180)
    assert verdict(MaxInitializationTime(), profiled(Profile(measured.machine, (), measured.timed))) == "found"
    assert verdict(MaxInitializationTime(), profiled(Profile(None, (), measured.timed))) == "not-enough-data"
