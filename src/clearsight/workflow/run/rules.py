"""All rules, about what is learned and about how fast, and those that a recipe asks for."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from clearsight.core.errors import BadValue
from clearsight.core.files import finite_json
from clearsight.core.finding import Finding
from clearsight.core.recipe import DebugSection, Recipe
from clearsight.core.rule import Rule
from clearsight.core.secrets import redact
from clearsight.core.space import Choice, Space
from clearsight.debugger.actions import parse_action, runs_code
from clearsight.debugger.capture.save_plan import parse_save
from clearsight.debugger.rule_parser import names_file, select_rules, split_rules
from clearsight.debugger.rules import RULES
from clearsight.profiler.rules import PROFILER_RULES

ALL_RULES = RULES | PROFILER_RULES  # the two packages do not import each other: they meet here

# The texts of rules and actions that a command may run: those that it names itself. None: every one (--trust).
Trusted: TypeAlias = Collection[str] | None

log = logging.getLogger(__name__)

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


def code_texts(section: DebugSection) -> dict[str, list[str]]:
    """Return the parts of these settings that run code or call an address, by setting.

    They are rules in a file, and notices to a command or a URL.
    """
    return {
        "rules": [word for word in split_rules(section.rules) if names_file(word)],
        "rule": [text for text in section.rule if names_file(text)],
        "on_finding": [text for text in section.on_finding if runs_code(text)],
    }


def code_of_recipe(recipe: Recipe) -> frozenset[str]:
    """Return the texts of a recipe that run code or call an address."""
    return frozenset(text for texts in code_texts(recipe.debug).values() for text in texts)


def code_of_space(space: Space) -> frozenset[str]:
    """Return the values of a search space that would run code or call an address in a trial."""
    domains = [d.domain for d in space.dimensions if d.name in ("rules", "rule", "on_finding")]
    words = [str(value) for domain in domains if isinstance(domain, Choice) for value in domain.values]
    return frozenset(word for word in words if runs_code(word) or any(map(names_file, split_rules(word))))


def check_code(texts: Iterable[str], source: str | Path, trusted: Trusted) -> None:
    """Raise BadValue if a file that was written perhaps by others would run code. texts: the code that it names."""
    for text in texts:
        if trusted is not None and text not in trusted:
            fix = "Name it in this command itself (--rule or --on-finding), or add --trust if the file is yours."
            raise BadValue(str(source), f"it names {redact(text)}, and a file runs no code by itself", fix=fix)


def check_recipe_file(recipe: Recipe, source: str | Path, given: Collection[str], trusted: Trusted) -> None:
    """Raise BadValue if a recipe file would run code. given: settings that the command sets itself, by name."""
    texts = code_texts(recipe.debug).items()
    check_code((text for name, named in texts if name not in given for text in named), source, trusted)


def only_trusted(recipe: Recipe, trusted: Trusted, source: Path | None = None) -> Recipe:
    """Return a recipe that was read from a folder without the code that nobody named in this invocation.

    source: its file; a warning says what is left out.
    """
    left_out = [] if trusted is None else sorted(code_of_recipe(recipe) - set(trusted))
    if not left_out:
        return recipe
    if source is not None:
        shown = ", ".join(map(redact, left_out))
        log.warning("not run: %s. %s names it, and a saved recipe runs code only with --trust.", shown, source)
    debug = recipe.debug
    return recipe.replace(
        rules=",".join(word for word in split_rules(debug.rules) if word not in left_out) or "none",
        rule=tuple(text for text in debug.rule if text not in left_out),
        on_finding=tuple(text for text in debug.on_finding if text not in left_out),
    )
