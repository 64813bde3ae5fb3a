"""RuleConfiguration: one of DebugRuleConfigurations or ProfilerRuleConfigurations of a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_NOT_OF_RULE = ("rule_to_invoke", "source_s3_uri", "action_json")  # of RuleParameters: not those of the rule itself


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleConfiguration:
    """A rule of a job. rule: name of what is judged.  source: address of the file of a custom rule, "" for others.

    actions: JSON, as it is sent.  output: address below which it writes, "" for the default.
    """

    name: str
    rule: str
    parameters: Mapping[str, str]
    source: str
    actions: str
    output: str
    is_profiler: bool

    @classmethod
    def of(cls, values: Mapping[str, Any], *, is_profiler: bool) -> RuleConfiguration:
        """Return the configuration of a request's member."""
        parameters = {str(name): str(value) for name, value in (values.get("RuleParameters") or {}).items()}
        return cls(
            name=values["RuleConfigurationName"],
            rule=parameters.get("rule_to_invoke", ""),
            parameters={name: text for name, text in parameters.items() if name not in _NOT_OF_RULE},
            source=parameters.get("source_s3_uri", ""),
            actions=parameters.get("action_json", ""),
            output=values.get("S3OutputPath") or "",
            is_profiler=is_profiler,
        )


# The one collection that a rule reads, of those that the SDK's rules bring.
_COLLECTIONS = {
    "LossNotDecreasing": "losses",
    "Overfit": "losses",
    "Overtraining": "losses",
    "VanishingGradient": "gradients",
    "WeightUpdateRatio": "weights",
}


def configurations(request: Mapping[str, Any]) -> Iterator[RuleConfiguration]:
    """Yield the rules of a request, those of the debugger first."""
    for member, is_profiler in (("DebugRuleConfigurations", False), ("ProfilerRuleConfigurations", True)):
        for values in request.get(member) or ():
            yield RuleConfiguration.of(values, is_profiler=is_profiler)


def interval_hint(request: Mapping[str, Any], rule: str, points: int) -> str:
    """Return a sentence on why so few steps were saved, where collections of rules override the hook; "" elsewhere.

    rule: the collections of other rules say nothing about it.
    """
    read = _COLLECTIONS.get(rule)
    hook = request.get("DebugHookConfig") or {}
    texts = {key: text for key, text in (hook.get("HookParameters") or {}).items() if key.endswith("save_interval")}
    hook_interval = min((int(text) for text in texts.values() if text.isdigit()), default=0)
    intervals = {
        str(collection["CollectionName"]): interval
        for collection in hook.get("CollectionConfigurations") or ()
        if (interval := str((collection.get("CollectionParameters") or {}).get("save_interval", ""))).isdigit()
        and int(interval) > hook_interval
        and read in (None, collection["CollectionName"])
    }
    if not intervals:
        return ""
    parts = ", ".join(f"{name} every {interval} steps" for name, interval in intervals.items())
    overridden = ", ".join(f"{key}={text}" for key, text in texts.items())
    override = f", which overrides the hook's {overridden}" if overridden else ""
    return (
        f"It saw {points} saved {'step' if points == 1 else 'steps'}: collections are saved at intervals of their own"
        f" ({parts}){override}. Pass collections_to_save with a smaller save_interval to the rule."
    )
