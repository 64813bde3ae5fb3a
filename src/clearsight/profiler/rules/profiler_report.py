"""ProfilerReport: all rules about speed in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearsight.core.errors import BadChoice
from clearsight.core.finding import Finding, Verdict
from clearsight.core.rule import Rule
from clearsight.core.settings import aliases, setting
from clearsight.core.view import RunView
from clearsight.profiler.rules import PROFILER_RULES
from clearsight.profiler.rules.speed_rule import SpeedRule


class ProfilerReport(SpeedRule):
    """Found when any other rule about speed found something; clear when at least one had enough data and none did.

    SageMaker's rule of this name runs the others and takes their parameters as `{Rule}_{parameter}`, such as
    CPUBottleneck_threshold=50; so does this one. Its cause names the rules, root causes first and then by severity; its
    fix is that of the first. It repeats the default rules, and is therefore left out unless it is asked for by name.
    """

    optional = True
    points = 1

    overrides: dict[str, dict[str, Any]] = setting({}, "parameters of other rules, by rule and by name")

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Rule:
        """Build the rule from parameters of other rules, named `{Rule}_{parameter}`.

        Raises BadChoice for an unknown rule or parameter, BadValue for one outside its range.
        """
        overrides: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            if key == "overrides" and isinstance(value, Mapping):
                for name, parameters in value.items():
                    overrides.setdefault(name, {}).update(parameters)
                continue
            name, _, parameter = key.partition("_")
            if name not in _other_rules() or not parameter:
                call = f"{cls.__name__}({key})"
                raise BadChoice(call, "there is no such parameter", got=key, allowed=_parameters())
            overrides.setdefault(name, {})[parameter] = value
        for name, parameters in overrides.items():
            PROFILER_RULES.load(name).parse(parameters)  # raises for a bad value now, not at the first check
        return cls(overrides=overrides)

    def verdict(self, view: RunView) -> Finding:
        kinds = {name: PROFILER_RULES.load(name) for name in _other_rules()}
        rules = [kind.parse(self.overrides.get(name, {})) for name, kind in kinds.items() if not kind.optional]
        # The rules run again: findings of the default set may have been made with other parameters.
        verdicts = [finding for rule in rules for finding in rule.check(view)]
        if found := _root_causes_first(rules, [finding for finding in verdicts if finding.found]):
            return self._summary(found, len({finding.rule for finding in verdicts}))
        if any(finding.verdict is Verdict.CLEAR for finding in verdicts):
            return self.clear(value=0, threshold=0, unit="rules")
        return self.not_enough_data(have=0, cause="no rule about speed has enough data")

    def _summary(self, found: list[Finding], rule_count: int) -> Finding:
        first, names = found[0], list(dict.fromkeys(finding.rule for finding in found))
        ranges = [finding.steps for finding in found if finding.steps is not None]
        return self.found(
            value=len(names),
            threshold=0,
            unit="rules",
            severity=first.severity,
            steps=(min(start for start, _ in ranges), max(end for _, end in ranges)),
            cause=f"{len(names)} of {rule_count} rules found something ({', '.join(names)}); first, {first.cause}",
            fix=dict(first.fix),
            advice=first.advice,
            because=tuple(names),
            confidence=first.confidence,
            evidence=first.evidence,
        )


def _root_causes_first(rules: list[Rule], found: list[Finding]) -> list[Finding]:
    """Sort findings: those that no other explains first, among them the most severe and then the surest."""
    names = {finding.rule for finding in found}
    explained = {name for rule in rules if rule.name in names for name in rule.explains}
    return sorted(
        found, key=lambda f: (f.rule in explained or not names.isdisjoint(f.because), f.severity.rank, -f.confidence)
    )


def _other_rules() -> list[str]:
    return [name for name in PROFILER_RULES.names() if name != ProfilerReport.__name__]


def _parameters() -> list[str]:
    return [
        f"{name}_{spelling}"
        for name in _other_rules()
        for parameter, info in PROFILER_RULES.load(name).model_fields.items()
        for spelling in (parameter, *aliases(info))
    ]
