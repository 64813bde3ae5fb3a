"""The contracts of rules accept good rules and reject the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.profiles import healthy_gpu, profile, profiled
from clearsight.testing.rules import (
    ProfilerRuleContract,
    ReporterContract,
    RuleContract,
    findings,
    only,
    replayed,
    replayed_profile,
    verdict,
    with_gaps,
    with_profile,
)
from clearsight.testing.tapes import flat, tape


class TooHigh(Rule):
    """Found when the last loss is above `most`."""

    explains = ("Overfit",)

    most: float = setting(1.0, "largest last loss", above=0, aliases=("threshold",))

    def needs(self) -> Needs:
        return Needs(points=3)

    def check(self, view: RunView) -> Iterator[Finding]:
        loss = view.scalar("loss")
        if len(loss) < 3:
            yield self.not_enough_data(have=len(loss))
        elif loss.values[-1] > self.most:
            yield self._high(loss.values[-1], len(loss))
        else:
            yield self.clear(value=float(loss.values[-1]), threshold=self.most)

    def _high(self, value: float, step: int) -> Finding:
        return self.found(
            value=value,
            threshold=self.most,
            steps=(1, step),
            cause=f"the loss is {value:.3g}",
            fix={"lr": 0.001},
            evidence=Series.of("loss", [step], [value]),
        )


class TestAGoodRule(RuleContract):
    rule = TooHigh()

    def fault(self) -> Tape:
        return tape(loss=flat(2.0, 8))

    def control(self) -> Tape:
        return tape(loss=flat(0.5, 8))


class Remembers(TooHigh):
    """Rule that keeps state."""

    def check(self, view: RunView) -> Iterator[Finding]:
        _CALLS.append(1)
        yield self._high(2.0 + len(_CALLS), 3)


class InventsSettings(TooHigh):
    """Rule whose fix is no recipe."""

    def _high(self, value: float, step: int) -> Finding:
        return self.found(value=value, threshold=1, steps=(1, step), cause="high", fix={"learning_speed": 1})


class SaysNothing(TooHigh):
    """Rule that is silent about missing data."""

    def check(self, view: RunView) -> Iterator[Finding]:
        yield from (finding for finding in super().check(view) if finding.found)


class AlwaysFinds(TooHigh):
    """Rule that finds something on any run."""

    def check(self, view: RunView) -> Iterator[Finding]:
        yield self._high(2.0, 3)


class GivesNoReason(TooHigh):
    """Rule that gives no reason."""

    def _high(self, value: float, step: int) -> Finding:
        return self.found(value=value, threshold=1, steps=(step, 1), cause=" ", evidence=())


_CALLS: list[int] = []


def contract(kind: type[Rule]) -> TestAGoodRule:
    saved = TestAGoodRule()
    saved.rule = kind()  # type: ignore[assignment]
    return saved


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (Remembers, "test_is_pure"),
        (InventsSettings, "test_fix_is_a_recipe"),
        (SaysNothing, "test_is_silent_on_its_control"),
        (SaysNothing, "test_says_what_is_missing"),
        (AlwaysFinds, "test_is_silent_on_its_control"),
        (AlwaysFinds, "test_says_what_is_missing"),
        (GivesNoReason, "test_finds_its_fault"),
        (GivesNoReason, "test_says_why_and_what_to_do"),
    ],
)
def test_stops_a_rule_that(kind: type[Rule], test: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        getattr(contract(kind), test)()


def test_stops_a_rule_that_knows_whether_it_is_live(tmp_path: Path) -> None:
    class Peeks(TooHigh):
        """Rule that reads the records themselves."""

        def check(self, view: RunView) -> Iterator[Finding]:
            records: Any = view.records  # type: ignore[attr-defined]
            yield self._high(id(records[0]) if records else 0.0, 3)

    with pytest.raises(AssertionError):
        contract(Peeks).test_live_equals_replay(contract(Peeks).fault(), tmp_path)


def test_only_wants_exactly_one() -> None:
    assert only(TooHigh(), tape(loss=flat(2.0, 8))).found
    assert verdict(TooHigh(), Tape()) == "not-enough-data"
    assert len(findings(TooHigh(), Tape())) == 1
    with pytest.raises(ValueError, match="unpack"):
        only(SaysNothing(), Tape())


def test_a_replayed_tape_equals_the_original(tmp_path: Path) -> None:
    saved = tape(loss=flat(2.0, 20))
    back = replayed(saved, tmp_path)
    assert back.records == saved.records
    assert (back.context, back.ended) == (saved.context, saved.ended)


class TooSlow(Rule):
    """Found when the median step takes longer than `most`."""

    topic = "speed"

    most: float = setting(1.0, "longest median step", above=0, unit="s")

    def needs(self) -> Needs:
        return Needs(counted="timed_steps", points=3)

    def check(self, view: RunView) -> Iterator[Finding]:
        table = view.profile.steps()
        if len(table) < 3:
            yield self.not_enough_data(have=len(table))
        elif (median := float(np.median(table.seconds))) > self.most:
            yield self._slow(view, median)
        else:
            yield self.clear(value=median, threshold=self.most)

    def _slow(self, view: RunView, median: float) -> Finding:
        table = view.profile.steps()
        return self.found(
            value=median,
            threshold=self.most,
            steps=(table.steps[0], table.steps[-1]),
            cause=f"a step takes {median:.3g} s",
            fix={"batch_size": 8},
            evidence=Series.of("step, seconds", table.steps, table.seconds),
        )


class TestAGoodRuleAboutSpeed(ProfilerRuleContract):
    rule = TooSlow()

    def fault(self) -> Tape:
        return profiled(profile(steps=20, seconds=2.0, gauges={"cpu": 50}, noise=0.1))

    def control(self) -> Tape:
        return profiled(profile(steps=20, seconds=0.5, gauges={"cpu": 50}, noise=0.1))


class ForgetsItsTopic(TooSlow):
    """Rule that would run where no profile exists."""

    topic = "learning"


class CountsTheMicroseconds(TooSlow):
    """Rule that keeps earlier values."""

    def _slow(self, view: RunView, median: float) -> Finding:
        _CALLS.append(1)
        return super()._slow(view, median + len(_CALLS))


class WantsEveryGauge(TooSlow):
    """Rule that fails where a sample has a gap."""

    def check(self, view: RunView) -> Iterator[Finding]:
        assert len(view.profile.gauge("cpu")) == len(view.profile.gauge_samples)
        yield from super().check(view)


class WantsSteps(TooSlow):
    """Rule that assumes that steps were timed."""

    def check(self, view: RunView) -> Iterator[Finding]:
        yield self._slow(view, float(view.profile.steps().seconds[0]))


class HangsByAThread(TooSlow):
    """Rule whose threshold is so close that rounding to microseconds changes the verdict."""

    def check(self, view: RunView) -> Iterator[Finding]:
        table = view.profile.steps()
        exact = any(seconds != round(float(seconds), 6) for seconds in table.seconds)
        yield self._slow(view, 2.0) if exact else self.clear()


def speed_contract(kind: type[Rule]) -> TestAGoodRuleAboutSpeed:
    saved = TestAGoodRuleAboutSpeed()
    saved.rule = kind()  # type: ignore[assignment]
    return saved


@pytest.mark.parametrize(
    ("kind", "test", "arguments"),
    [
        (ForgetsItsTopic, "test_is_about_speed", ()),
        (CountsTheMicroseconds, "test_is_pure", ()),
        (WantsEveryGauge, "test_tolerates_gaps", (TestAGoodRuleAboutSpeed().fault(),)),
        (WantsSteps, "test_tolerates_missing_measurements", ("steps",)),
        (WantsSteps, "test_is_silent_on_its_control", ()),
    ],
)
def test_stops_a_rule_about_speed_that(kind: type[Rule], test: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises((AssertionError, IndexError)):
        getattr(speed_contract(kind), test)(*arguments)


def test_stops_a_rule_that_hangs_by_a_thread(tmp_path: Path) -> None:
    judged = speed_contract(HangsByAThread)
    with pytest.raises(AssertionError):
        judged.test_rounding_on_disk_changes_no_verdict(judged.fault(), tmp_path)


def test_stops_a_rule_that_sees_more_live_than_in_replay(tmp_path: Path) -> None:
    class Peeks(TooSlow):
        """Rule that reads the profile object itself."""

        def check(self, view: RunView) -> Iterator[Finding]:
            yield self.clear(value=float(id(view.profile)))

    with pytest.raises(AssertionError):
        speed_contract(Peeks).test_live_equals_replay(speed_contract(Peeks).fault(), tmp_path)


def test_stops_a_reporter_that_finds_something() -> None:
    class Reports(ReporterContract):
        rule = TooSlow()

        def control(self) -> Tape:
            return TestAGoodRuleAboutSpeed().fault()

    with pytest.raises(AssertionError):
        Reports().test_finds_its_fault()


def test_a_profile_is_read_back_but_for_rounding(tmp_path: Path) -> None:
    saved = healthy_gpu(steps=40)
    back = replayed_profile(saved, tmp_path)
    assert back.machine == saved.machine
    assert len(back.gauge_samples) == len(saved.gauge_samples)
    assert back.steps().seconds == pytest.approx(saved.steps().seconds, abs=1e-6)
    repeated = replayed_profile(back, tmp_path / "again")
    assert (list(repeated.gauge_samples), list(repeated.step_times)) == (
        list(back.gauge_samples),
        list(back.step_times),
    )


def test_gaps_are_in_each_third_sample_and_step() -> None:
    saved = with_gaps(profile(steps=9, phases={"data": 0.01}, gauges={"cpu": 5}), 3)
    assert [bool(step.phases) for step in saved.step_times] == [True, True, False] * 3
    assert [bool(sample.values) for sample in saved.gauge_samples][:3] == [True, True, False]
    tape = TestAGoodRuleAboutSpeed().fault()
    assert with_profile(tape, saved).profile is saved
    assert with_profile(tape, saved).context is tape.context
