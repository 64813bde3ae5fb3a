"""Rules: parameters with ranges and aliases, needs, and the three verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.finding import Finding, Points, Series, Verdict
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import setting
from clearsight.core.view import RunView


class Example(Rule):
    """An example."""

    unused = ("collection_names",)

    window: int = setting(50, "how far back", low=10, unit="steps", aliases=("num_steps",))
    drop: float = setting(0.1, "least drop", above=0)

    def needs(self) -> Needs:
        return Needs(points=self.window)

    def check(self, view: RunView) -> Iterator[Finding]:
        yield self.clear()


def test_parameters_by_name_by_sagemakers_name_and_as_text() -> None:
    assert Example.parse({"num_steps": "12", "drop": "0.5"}).parameters() == {"window": 12, "drop": 0.5}


def test_a_sagemaker_parameter_without_effect_is_accepted() -> None:
    assert Example.parse({"collection_names": "losses"}) == Example()


def test_an_unknown_parameter_gives_the_nearest() -> None:
    with pytest.raises(BadChoice, match="Did you mean window"):
        Example.parse({"windo": 1})


def test_a_value_outside_its_range_names_it() -> None:
    with pytest.raises(BadValue, match=r"Example\(window=3\).*must be a whole number, at least 10"):
        Example.parse({"window": 3})


def test_the_same_parameter_under_two_names_is_refused() -> None:
    with pytest.raises(BadValue, match="given twice"):
        Example.parse({"window": 20, "num_steps": 30})


def test_missing_data_says_how_much_there_is_and_how_much_is_needed() -> None:
    finding = Example().not_enough_data(have=7)
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.points == Points(7, 50, "training steps")
    assert finding.cause == "7 of the 50 training steps that it needs"


def test_a_finding_has_the_measured_values() -> None:
    finding = Example().found(
        value=3, threshold=1, steps=(2, 9), cause="so", confidence=2.0, evidence=Series("loss", (2,), (3.0,))
    )
    assert finding.rule == "Example"
    assert finding.found
    assert finding.confidence == 1.0
    assert [series.name for series in finding.evidence] == ["loss"]


@pytest.mark.parametrize(
    ("earlier", "word"),
    [("outcomes", "predictions"), ("rounds", "evaluations"), ("looks", "samples"), ("timed", "timed_steps")],
)
def test_needs_accept_the_words_of_earlier_versions(earlier: Any, word: str) -> None:
    assert Needs(counted=earlier).counted == word
