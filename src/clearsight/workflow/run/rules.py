"""All rules, about what is learned and about how fast, and those that a recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence

from clearsight.core.recipe import Recipe
from clearsight.core.rule import Rule
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.rules import RULES
from clearsight.profiler.rules import PROFILER_RULES

ALL_RULES = RULES | PROFILER_RULES  # the two packages do not import each other: they meet here


def recipe_rules(recipe: Recipe) -> list[Rule]:
    """Return the rules that a recipe asks for, without those whose data it does not collect."""
    depths = {"learning": recipe.debug.debug, "speed": recipe.profile.profile}
    rules = select_rules(recipe.debug.rules, recipe.debug.rule, ALL_RULES)
    return [rule for rule in rules if depths[rule.topic] != "off"]


def rules_about(topic: str, rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules about "learning" or about "speed"."""
    return [rule for rule in rules if rule.topic == topic]
