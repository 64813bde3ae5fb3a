"""All rules, about what is learned and about how fast, and those that a recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clearsight.core.files import finite_json
from clearsight.core.finding import Finding
from clearsight.core.recipe import DebugSection, Recipe
from clearsight.core.rule import Rule
from clearsight.debugger.actions import parse_action
from clearsight.debugger.capture.save_plan import parse_save
from clearsight.debugger.rule_parser import select_rules
from clearsight.debugger.rules import RULES
from clearsight.profiler.rules import PROFILER_RULES

ALL_RULES = RULES | PROFILER_RULES  # the two packages do not import each other: they meet here

# Fields of a finding without its evidence: series of up to 200 points, which findings.jsonl holds.
_FIELDS = (
    *("rule", "verdict", "severity", "value", "threshold", "unit", "steps", "epoch", "subject", "cause", "fix"),
    *("advice", "confidence", "group", "points", "resolved"),
)


def findings_json(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return findings as JSON values without their evidence; a value that is not finite is null."""
    rows = [finite_json(finding.to_json()) for finding in findings]
    return [{name: row[name] for name in _FIELDS} for row in rows]


def recipe_rules(recipe: Recipe) -> list[Rule]:
    """Return the rules that a recipe asks for, without those whose data it does not collect."""
    depths = {"learning": recipe.debug.debug, "speed": recipe.profile.profile}
    rules = select_rules(recipe.debug.rules, recipe.debug.rule, ALL_RULES)
    return [rule for rule in rules if depths[rule.topic] != "off"]


def rules_about(topic: str, rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules about "learning" or about "speed"."""
    return [rule for rule in rules if rule.topic == topic]


def check_debugging(section: DebugSection) -> None:
    """Raise BadChoice or BadValue for wrong settings of the debugger, before a run begins."""
    select_rules(section.rules, section.rule, ALL_RULES)
    parse_save(section.save)
    for text in section.on_finding:
        parse_action(text, ALL_RULES)
