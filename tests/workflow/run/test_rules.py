"""A run uses the rules of debugger and profiler whose data it collects."""

from __future__ import annotations

import pytest

from clearsight.core.recipe import Recipe
from clearsight.debugger.rules import RULES
from clearsight.profiler.rules import PROFILER_RULES
from clearsight.workflow.run.rules import ALL_RULES, recipe_rules, rules_about


def test_all_rules_are_those_of_debugger_and_profiler() -> None:
    assert ALL_RULES.names() == [*RULES.names(), *PROFILER_RULES.names()]
    assert {kind.topic for _, kind in RULES} == {"learning"}
    assert {kind.topic for _, kind in PROFILER_RULES} == {"speed"}


@pytest.mark.parametrize(
    ("settings", "topics"),
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
def test_rules_follow_what_is_measured(settings: dict[str, object], topics: set[str]) -> None:
    assert {rule.topic for rule in recipe_rules(Recipe.parse(settings))} == topics


def test_rules_about_one_topic() -> None:
    rules = recipe_rules(Recipe())
    assert {rule.name for rule in rules_about("speed", rules)} <= set(PROFILER_RULES.names())
    assert len(rules_about("speed", rules)) + len(rules_about("learning", rules)) == len(rules)
