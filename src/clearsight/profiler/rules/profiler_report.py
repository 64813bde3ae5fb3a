"""ProfilerReport: all rules about speed in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clearsight.core.errors import BadChoice
from clearsight.core.finding import Finding, Verdict
from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import aliases, setting
from clearsight.core.view import RunView
from clearsight.profiler.rules import PROFILER_RULES


class ProfilerReport(Rule):
    """Found when any other rule about speed found something; clear when one of them could look and none did.

    SageMaker's rule of this name runs the others and takes their parameters as `{Rule}_{parameter}`, such as
    CPUBottleneck_threshold=50; so does this one. Its cause names the rules, causes before what follows from them and
    then by severity; its fix is that of the first. The default rules speak for themselves, which is why it is left out
    where it is not asked for by name.
    """

    topic = "speed"
    optional = True

    overrides: dict[str, dict[str, Any]] = setting({}, "parameters of other rules, by rule and by name")

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Rule:
        """The rule with parameters of others by `{Rule}_{parameter}`.

        Raises BadChoice for an unknown rule or parameter, BadValue for one outside its range.
        """
        overrides: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            if key == "overrides" and isinstance(value, Mapping):
                for name, given in value.items():
                    overrides.setdefault(name, {}).update(given)
                continue
            name, _, parameter = key.partition("_")
            if name not in _others() or not parameter:
                raise BadChoice(f"{cls.__name__}({key})", "there is no such parameter", got=key, allowed=_parameters())
            overrides.setdefault(name, {})[parameter] = value
        for name, given in overrides.items():
            PROFILER_RULES.load(name).parse(given)
        return cls(overrides=overrides)

    def needs(self) -> Needs:
        return Needs(counted="timed", points=1)

    def check(self, view: RunView) -> Iterator[Finding]:
        rules = self._rules()
        said = [finding for rule in rules for finding in rule.check(view)]
        if found := _causes_first(rules, [finding for finding in said if finding.found]):
            yield self._together(found, len({finding.rule for finding in said}))
        elif any(finding.verdict is Verdict.CLEAR for finding in said):
            yield self.clear(value=0, threshold=0, unit="rules")
        else:
            yield self.not_enough_data(have=0, cause="none of the rules about speed has enough to look at")

    def _rules(self) -> list[Rule]:
        kinds = {name: PROFILER_RULES.load(name) for name in _others()}
        return [kind.parse(self.overrides.get(name, {})) for name, kind in kinds.items() if not kind.optional]

    def _together(self, found: list[Finding], asked: int) -> Finding:
        first, names = found[0], list(dict.fromkeys(finding.rule for finding in found))
        covered = [finding.steps for finding in found if finding.steps is not None]
        return self.found(
            value=len(names),
            threshold=0,
            unit="rules",
            severity=first.severity,
            steps=(min(steps[0] for steps in covered), max(steps[1] for steps in covered)),
            cause=f"{len(names)} of {asked} rules found something ({', '.join(names)}); first, {first.cause}",
            fix=dict(first.fix),
            advice=first.advice,
            because=tuple(names),
            confidence=first.confidence,
            evidence=first.evidence,
        )


def _causes_first(rules: list[Rule], found: list[Finding]) -> list[Finding]:
    """Findings that no other explains first, the most severe and surest of them at the top."""
    names = {finding.rule for finding in found}
    explained = {name for rule in rules if rule.name in names for name in rule.explains}
    return sorted(
        found,
        key=lambda f: (f.rule in explained or not names.isdisjoint(f.because), f.severity.rank, -f.confidence),
    )


def _others() -> list[str]:
    return [name for name in PROFILER_RULES.names() if name != ProfilerReport.__name__]


def _parameters() -> list[str]:
    return [
        f"{name}_{spelling}"
        for name in _others()
        for parameter, info in PROFILER_RULES.load(name).model_fields.items()
        for spelling in (parameter, *aliases(info))
    ]
