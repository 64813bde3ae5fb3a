"""TunedParameter: a hyperparameter with its range. ParameterRanges of a request, which may leave ranges to the service.

Values travel as text: continuous ones with full double precision, integers as digits, categories as they are listed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clearsight.core.space import Choice, Domain, FloatRange, IntRange, Value
from clearsight_sagemaker.protocols.errors import validation_error

MOST_PARAMETERS = 30  # that one training job definition may tune
_OF_TOOLKIT = "sagemaker_"  # sagemaker_program and its like
_MOST_INTEGER = 2**44  # far beyond it, the densities of the search are not exact enough
_LOGARITHMIC_FROM = 100.0  # largest by smallest value, from which Auto searches by orders of magnitude


@dataclass(frozen=True, kw_only=True)
class TunedParameter:
    """A tuned hyperparameter. domain: of its values.  is_reverse: 1 - value is searched, by orders of magnitude."""

    name: str
    domain: Domain
    is_reverse: bool = False

    @property
    def search_domain(self) -> Domain:
        """Domain of what is searched."""
        if self.is_reverse and isinstance(self.domain, FloatRange):
            return FloatRange(low=1.0 - self.domain.high, high=1.0 - self.domain.low, log=True)
        return self.domain

    def text(self, searched: Value) -> str:
        """Return a searched value as the training job gets it."""
        domain = self.domain
        if isinstance(domain, Choice) or not isinstance(searched, int | float):
            return str(searched)
        # Rounding of logarithms may leave the range by the last bit.
        value = min(max(1.0 - searched if self.is_reverse else searched, domain.low), domain.high)
        return str(int(value)) if isinstance(domain, IntRange) else repr(float(value))

    def value(self, text: str) -> Value:
        """Return the value of a text as a number, or the category; raises ValueError for one outside the domain."""
        domain = self.domain
        if isinstance(domain, Choice):
            if text not in domain.values:
                raise ValueError(f"{text!r} is not a value of {self.name}")
            return text
        value = int(text) if isinstance(domain, IntRange) else float(text)
        if not domain.low <= value <= domain.high:
            raise ValueError(f"{text} is outside the range of {self.name}")
        return value

    def searched(self, text: str) -> Value:
        """Return the searched value of a text; raises ValueError for one outside the domain."""
        value, domain = self.value(text), self.search_domain
        if not self.is_reverse or not isinstance(domain, FloatRange) or not isinstance(value, float):
            return value
        return min(max(1.0 - value, domain.low), domain.high)


def tuned_parameters(ranges: Mapping[str, Any]) -> list[TunedParameter]:
    """Return the parameters of ParameterRanges; raises ServiceError for a range that has no values."""
    parameters = [
        *(_integer(values) for values in ranges.get("IntegerParameterRanges", ())),
        *(_continuous(values) for values in ranges.get("ContinuousParameterRanges", ())),
        *(_categorical(values) for values in ranges.get("CategoricalParameterRanges", ())),
    ]
    names = [parameter.name for parameter in parameters]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise validation_error(f"The hyperparameter {twice!r} has two ranges. Keep one.")
    if len(parameters) > MOST_PARAMETERS:
        raise validation_error(
            f"A training job definition may tune {MOST_PARAMETERS} hyperparameters, not {len(parameters)}."
        )
    return parameters


def complete_ranges(ranges: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return ParameterRanges with all three lists, and hyperparameters that do not vary.

    AutoParameters get ranges around their hints; those of the toolkit, and words, keep the hint as their value.
    Clients read the lists without asking whether they are there.
    """
    kinds = ("IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges")
    complete: dict[str, Any] = {kind: [*ranges.get(kind, ())] for kind in kinds}
    fixed: dict[str, str] = {}
    for parameter in ranges.get("AutoParameters", ()):
        name, hint = parameter["Name"], parameter["ValueHint"]
        found = None if name.startswith(_OF_TOOLKIT) else hinted_range(hint)
        if found is None:
            fixed[name] = hint
        else:
            complete[found[0]].append({"Name": name, **found[1]})
    return complete, fixed


def hinted_range(hint: str) -> tuple[str, dict[str, Any]] | None:
    """Return the kind of a range around a value, and the range; None for a value that has none.

    An integer from half to twice the value, a number by orders of magnitude around it, below 1 where it is below 1, and
    both booleans.
    """
    try:
        value = json.loads(hint)
    except (ValueError, RecursionError):
        value = hint
    if isinstance(value, bool):
        return "CategoricalParameterRanges", {"Values": ["true", "false"]}
    if isinstance(value, int) and 1 <= value <= _MOST_INTEGER // 2:
        return "IntegerParameterRanges", _hinted(str(max(1, value // 2)), str(2 * value), "Logarithmic")
    if isinstance(value, float) and math.isfinite(value) and 0 < value < _MOST_INTEGER:
        if value < 0.5:
            return "ContinuousParameterRanges", _hinted(value / 10, min(10 * value, (1 + value) / 2), "Logarithmic")
        if value < 1:
            low, high = max(1 - 10 * (1 - value), value / 2), 1 - (1 - value) / 10
            return "ContinuousParameterRanges", _hinted(low, high, "ReverseLogarithmic")
        return "ContinuousParameterRanges", _hinted(value / 10, 10 * value, "Logarithmic")
    return None


def _hinted(low: float | str, high: float | str, scaling: str) -> dict[str, str]:
    return {"MinValue": str(low), "MaxValue": str(high), "ScalingType": scaling}


def _integer(values: Mapping[str, Any]) -> TunedParameter:
    low, high = (_number(values, end, int) for end in ("MinValue", "MaxValue"))
    _check_ends(values, low, high)
    if max(abs(low), abs(high)) > _MOST_INTEGER:
        raise _range_error(values, f"integers must be within -{_MOST_INTEGER} and {_MOST_INTEGER}")
    scaling = values.get("ScalingType", "Auto")
    if scaling == "ReverseLogarithmic":
        raise _range_error(values, "ReverseLogarithmic scaling is for continuous ranges alone")
    domain = IntRange(low=int(low), high=int(high), log=_is_logarithmic(values, scaling, low, high))
    return TunedParameter(name=values["Name"], domain=domain)


def _continuous(values: Mapping[str, Any]) -> TunedParameter:
    low, high = (_number(values, end, float) for end in ("MinValue", "MaxValue"))
    _check_ends(values, low, high)
    scaling = values.get("ScalingType", "Auto")
    if scaling == "ReverseLogarithmic":
        if not (low >= 0 and high < 1):
            raise _range_error(values, "ReverseLogarithmic scaling needs a range within 0 <= x < 1")
        return TunedParameter(name=values["Name"], domain=FloatRange(low=low, high=high), is_reverse=True)
    domain = FloatRange(low=low, high=high, log=_is_logarithmic(values, scaling, low, high))
    return TunedParameter(name=values["Name"], domain=domain)


def _categorical(values: Mapping[str, Any]) -> TunedParameter:
    return TunedParameter(name=values["Name"], domain=Choice(values=tuple(dict.fromkeys(values["Values"]))))


def _is_logarithmic(values: Mapping[str, Any], scaling: str, low: float, high: float) -> bool:
    if scaling == "Logarithmic" and low <= 0:
        raise _range_error(values, "Logarithmic scaling needs values above 0")
    return scaling == "Logarithmic" or (scaling == "Auto" and low > 0 and high / low >= _LOGARITHMIC_FROM)


def _number(values: Mapping[str, Any], end: str, kind: Callable[[str], float]) -> float:
    text = values[end]
    try:
        number = kind(text)
    except ValueError:
        noun = "an integer" if kind is int else "a number"
        raise _range_error(values, f"{end} {text!r} is not {noun}") from None
    if not math.isfinite(number):
        raise _range_error(values, f"{end} {text!r} is not finite")
    return number


def _check_ends(values: Mapping[str, Any], low: float, high: float) -> None:
    if low > high:
        raise _range_error(values, f"MinValue {values['MinValue']} is above MaxValue {values['MaxValue']}")
    if not math.isfinite(high - low):
        raise _range_error(values, "MaxValue - MinValue is not finite")


def _range_error(values: Mapping[str, Any], problem: str) -> Exception:
    return validation_error(f"The range of the hyperparameter {values['Name']!r} is not valid: {problem}.")
