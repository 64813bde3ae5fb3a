"""Which rules a run asks: both families, less what it does not collect."""

from __future__ import annotations

import pytest

from clearsight.core.recipe import Recipe
from clearsight.debugger.rules import RULES
from clearsight.profiler.rules import PROFILER_RULES
from clearsight.workflow.run.rules import BOOK, about, rules_of


def test_the_book_holds_both_families() -> None:
    assert BOOK.names() == [*RULES.names(), *PROFILER_RULES.names()]
    assert {kind.topic for _, kind in RULES} == {"learning"}
    assert {kind.topic for _, kind in PROFILER_RULES} == {"speed"}


@pytest.mark.parametrize(
    ("said", "topics"),
    [
        ({}, {"learning", "speed"}),
        ({"debug": "off"}, {"speed"}),
        ({"profile": "off"}, {"learning"}),
        ({"debug": "off", "profile": "off"}, set()),
        ({"rules": "none"}, set()),
        ({"rules": "DataWait,Overfit"}, {"learning", "speed"}),
        ({"rules": "none", "rule": ["DataWait()"]}, {"speed"}),
    ],
)
def test_rules_follow_what_is_measured(said: dict[str, object], topics: set[str]) -> None:
    assert {rule.topic for rule in rules_of(Recipe.parse(said))} == topics


def test_about_one_topic() -> None:
    rules = rules_of(Recipe())
    assert {rule.name for rule in about("speed", rules)} <= set(PROFILER_RULES.names())
    assert len(about("speed", rules)) + len(about("learning", rules)) == len(rules)
