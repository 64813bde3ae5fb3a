"""The rules of both families, what is learned and how fast, under one roof."""

from __future__ import annotations

from collections.abc import Sequence

from clearsight.core.recipe import Recipe
from clearsight.core.rule import Rule
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.rules import RULES
from clearsight.profiler.rules import PROFILER_RULES

BOOK = RULES | PROFILER_RULES


def rules_of(recipe: Recipe) -> list[Rule]:
    """The rules that a recipe asks, without those whose data it does not collect."""
    off = {
        topic for topic, said in (("learning", recipe.debug.debug), ("speed", recipe.profile.profile)) if said == "off"
    }
    return [rule for rule in select_rules(recipe.debug.rules, recipe.debug.rule, BOOK) if rule.topic not in off]


def about(topic: str, rules: Sequence[Rule]) -> list[Rule]:
    """Of some rules those about "learning" or about "speed"."""
    return [rule for rule in rules if rule.topic == topic]
