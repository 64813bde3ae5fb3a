"""Hyperparameters of a request: decoded, as command line and as variables, in the way of the training toolkit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_FRAMEWORK_PREFIX = "sagemaker_"
_OBJECTIVE = "_tuning_objective_metric"


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Decoded hyperparameters. user: of the script.  framework: of the toolkit (sagemaker_program and its like)."""

    user: Mapping[str, Any]
    framework: Mapping[str, Any]

    @classmethod
    def of(cls, request: Mapping[str, str]) -> Hyperparameters:
        """Decode the HyperParameters of a request."""
        values = {name: decoded(value) for name, value in request.items()}
        framework = {name for name in values if name.startswith(_FRAMEWORK_PREFIX) or name == _OBJECTIVE}
        return cls(
            {name: value for name, value in values.items() if name not in framework},
            {name: values[name] for name in framework},
        )

    def arguments(self) -> list[str]:
        """Return the arguments of the script: names in order, one dash for a single letter, a value for each name."""
        words: list[str] = []
        for name, value in sorted(self.user.items()):
            words += [f"-{name}" if len(name) == 1 else f"--{name}", _argument(value)]
        return words


def decoded(text: str) -> Any:
    """Return the JSON value of a text, or the text itself where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def variable(value: Any) -> str:
    """Return a value as the text of an SM_* variable: a text as it is, None as "", else compact JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _argument(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ",".join(f"{name}={inner}" for name, inner in sorted(value.items()))
    return str(value)
