"""Parameters of rules as text: of debugger rules, and the defaults of profiler rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = {"int": "must be a whole number", "float": "must be a number", "bool": "must be True or False"}
# Defaults as the SDK sends them.
PROFILER_DEFAULTS: dict[str, dict[str, float]] = {
    "BatchSize": {
        "cpu_threshold_p95": 70,
        "gpu_threshold_p95": 70,
        "gpu_memory_threshold_p95": 70,
        "patience": 1000,
        "window": 500,
    },
    "CPUBottleneck": {"threshold": 50, "gpu_threshold": 10, "cpu_threshold": 90, "patience": 1000},
    "Dataloader": {"min_threshold": 70, "max_threshold": 200},
    "GPUMemoryIncrease": {"increase": 5, "patience": 1000, "window": 10},
    "IOBottleneck": {"threshold": 50, "gpu_threshold": 10, "io_threshold": 50, "patience": 1000},
    "LoadBalancing": {"threshold": 0.5, "patience": 1000},
    "LowGPUUtilization": {"threshold_p95": 70, "threshold_p5": 10, "window": 500, "patience": 1000},
    "MaxInitializationTime": {"threshold": 20},
    "OverallFrameworkMetrics": {},
    "OverallSystemUsage": {},
    "StepOutlier": {"stddev": 3, "n_outliers": 10},
}
"""Profiler rules by name, with their parameters."""
_ACCEPTED = ("scan_interval_us", "mode")  # when a rule is judged; and a mode, without effect: all count


def hint_of(error: Mapping[str, Any]) -> str:
    """Return what is wrong with a value, of an error of pydantic."""
    kind = str(error["type"]).partition("_")[0]
    return _KINDS.get(kind, str(error["msg"]).removeprefix("Input should ").replace("be ", "must be ", 1))


def profiler_parameters(rule: str, texts: Mapping[str, str]) -> dict[str, float]:
    """Return the parameters of a profiler rule. Raises ValueError for an unknown one or one that is no number."""
    values = dict(PROFILER_DEFAULTS[rule])
    for name, text in texts.items():
        if name in _ACCEPTED:
            continue
        if name not in values:
            allowed = ", ".join([*values, *_ACCEPTED])
            raise ValueError(f"{rule}({name}): there is no such parameter. Allowed: {allowed}.")
        try:
            values[name] = float(text)
        except ValueError:
            raise ValueError(f"{rule}({name}={text}): must be a number.") from None
    return values


def report_parameters(texts: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Return the parameters of every rule in a ProfilerReport, which takes them as {Rule}_{parameter}."""
    of_rule: dict[str, dict[str, str]] = {name: {} for name in PROFILER_DEFAULTS}
    by_lower_name = {name.lower(): name for name in PROFILER_DEFAULTS}
    for key, text in texts.items():
        rule, _, parameter = key.partition("_")
        if key in _ACCEPTED:
            continue
        if rule.lower() not in by_lower_name or not parameter:
            raise ValueError(f"ProfilerReport({key}): must be RULE_PARAMETER of {', '.join(PROFILER_DEFAULTS)}.")
        of_rule[by_lower_name[rule.lower()]][parameter] = text
    return {rule: profiler_parameters(rule, parameters) for rule, parameters in of_rule.items()}
