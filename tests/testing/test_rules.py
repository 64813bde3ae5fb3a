"""The contract of rules lets good rules through and stops the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.finding import Finding, Series
from clearsight.core.rule import Needs, Rule, knob
from clearsight.core.view import RunView
from clearsight.debugger.tape import Tape
from clearsight.testing.rules import RuleContract, findings, only, replayed, verdict
from clearsight.testing.tapes import flat, tape


class TooHigh(Rule):
    """Found when the last loss is above `most`."""

    explains = ("Overfit",)

    most: float = knob(1.0, "largest last loss", above=0, aliases=("threshold",))

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
    """One that keeps state."""

    def check(self, view: RunView) -> Iterator[Finding]:
        _CALLS.append(1)
        yield self._high(2.0 + len(_CALLS), 3)


class InventsSettings(TooHigh):
    """One whose fix is no recipe."""

    def _high(self, value: float, step: int) -> Finding:
        return self.found(value=value, threshold=1, steps=(1, step), cause="high", fix={"learning_speed": 1})


class SaysNothing(TooHigh):
    """One that is silent about missing data."""

    def check(self, view: RunView) -> Iterator[Finding]:
        yield from (finding for finding in super().check(view) if finding.found)


class CriesWolf(TooHigh):
    """One that finds something on any run."""

    def check(self, view: RunView) -> Iterator[Finding]:
        yield self._high(2.0, 3)


class LooksAtTheEnd(TooHigh):
    """One that gives no reason."""

    def _high(self, value: float, step: int) -> Finding:
        return self.found(value=value, threshold=1, steps=(step, 1), cause=" ", evidence=())


_CALLS: list[int] = []


def contract(kind: type[Rule]) -> TestAGoodRule:
    made = TestAGoodRule()
    made.rule = kind()  # type: ignore[assignment]
    return made


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (Remembers, "test_is_pure"),
        (InventsSettings, "test_fix_is_a_recipe"),
        (SaysNothing, "test_is_silent_on_its_control"),
        (SaysNothing, "test_says_what_is_missing"),
        (CriesWolf, "test_is_silent_on_its_control"),
        (CriesWolf, "test_says_what_is_missing"),
        (LooksAtTheEnd, "test_finds_its_fault"),
        (LooksAtTheEnd, "test_says_why_and_what_to_do"),
    ],
)
def test_stops_a_rule_that(kind: type[Rule], test: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        getattr(contract(kind), test)()


def test_stops_a_rule_that_knows_whether_it_is_live(tmp_path: Path) -> None:
    class Peeks(TooHigh):
        """One that looks at the records themselves."""

        def check(self, view: RunView) -> Iterator[Finding]:
            records: Any = view.records  # type: ignore[attr-defined]
            yield self._high(id(records[0]) if records else 0.0, 3)

    with pytest.raises(AssertionError):
        contract(Peeks).test_live_equals_replay("fault", tmp_path)


def test_only_wants_exactly_one() -> None:
    assert only(TooHigh(), tape(loss=flat(2.0, 8))).found
    assert verdict(TooHigh(), Tape()) == "not-enough-data"
    assert len(findings(TooHigh(), Tape())) == 1
    with pytest.raises(ValueError, match="unpack"):
        only(SaysNothing(), Tape())


def test_what_is_read_back_is_what_was_written(tmp_path: Path) -> None:
    made = tape(loss=flat(2.0, 20))
    back = replayed(made, tmp_path)
    assert back.records == made.records
    assert (back.facts, back.ended) == (made.facts, made.ended)
