"""FieldAxis: positions of the values of a setting on an axis, for ranges and for choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from clearsight.core.space import Choice, IntRange, Params, Space, Value
from clearsight.core.trial import Trial
from clearsight.reports.charts.learning import named_ticks
from clearsight.reports.kit.format import general

_MARGIN = 0.03  # of the axis on both sides, so that a marker at its end is not cut
_TICKS = 8  # of a logarithmic axis at most


@dataclass(frozen=True)
class FieldAxis:
    """Axis of a setting, with the ends of its range, or with its values for a choice.

    log: logarithmic.  whole: whole numbers only.  choices: in their order; () for a range.
    """

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    choices: tuple[Value, ...] = ()

    @classmethod
    def of(cls, name: str, space: Space, trials: Sequence[Trial]) -> FieldAxis:
        """Return the axis of a setting of the space.

        It is wide enough for the trials too: a resumed study may have had another range before.
        """
        domains = [dimension.domain for dimension in space.dimensions if dimension.name == name]
        values = [trial.params[name] for trial in trials if name in trial.params]
        numbers = [float(value) for value in values if _is_number(value)]
        ranges = [domain for domain in domains if not isinstance(domain, Choice)]
        if len(ranges) < len(domains) or len(numbers) < len(values):
            listed = [value for domain in domains if isinstance(domain, Choice) for value in domain.values]
            distinct = {repr(value): value for value in (*listed, *values)}  # by repr, since 1 equals True
            return cls(name, 0.0, float(max(len(distinct) - 1, 1)), choices=tuple(distinct.values()))
        low = min([*(domain.low for domain in ranges), *numbers])
        high = max([*(domain.high for domain in ranges), *numbers])
        log = any(domain.log for domain in ranges) and low > 0  # an earlier study may have tried 0
        whole = all(isinstance(domain, IntRange) for domain in ranges)
        return cls(name, float(low), float(high), log=log, whole=whole)

    def holds(self, params: Params) -> bool:
        """Return True if a point of the space has a position on the axis."""
        value = params.get(self.name)
        return self.name in params and (bool(self.choices) or _is_number(value))

    def position(self, params: Params) -> float:
        """Return the coordinate of a point that `holds`: the number, or the index of the choice."""
        value = params[self.name]
        if self.choices:
            return float([repr(choice) for choice in self.choices].index(repr(value)))
        assert isinstance(value, int | float)
        return float(value)

    def share(self, params: Params) -> float:
        """Return the same from 0 at one end of the axis to 1 at the other."""
        position = self.position(params)
        if self.log:
            return math.log(position / self.low) / math.log(self.high / self.low) if self.high > self.low else 0.5
        return (position - self.low) / (self.high - self.low) if self.high > self.low else 0.5

    def value(self, share: float) -> float:
        """Return the number at a share of the axis of a range."""
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)

    def marks(self) -> list[tuple[float, str]]:
        """Return (share, label) of the labels along the axis: ends and middle of a range, or the choices."""
        if self.choices:
            last = max(len(self.choices) - 1, 1)
            return [(index / last, value_text(value)) for index, value in enumerate(self.choices)]
        middle = self.value(0.5)
        label = str(round(middle)) if self.whole else f"{middle:.3g}"
        share = self.share({self.name: round(middle) if self.whole else middle})
        return [(0.0, general(self.low)), (share, label), (1.0, general(self.high))]

    def layout(self) -> dict[str, Any]:
        """Return the settings of the axis for Plotly."""
        if self.choices:
            return {"showgrid": False, **named_ticks([value_text(value) for value in self.choices])}
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            margin = _MARGIN * (high - low)
            ticks = _log_ticks(self.low, self.high)
            labels = {"tickmode": "array", "tickvals": ticks, "ticktext": [general(tick) for tick in ticks]}
            return {"type": "log", "range": [low - margin, high + margin], **labels}
        margin = _MARGIN * (self.high - self.low)
        return {"range": [self.low - margin, self.high + margin], "nticks": 6}


def value_text(value: Value) -> str:
    """Return a value of a setting as text."""
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return general(value) if isinstance(value, float) else str(value)


def _log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two ends: powers of ten, and more where those are fewer than three."""
    for factors in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        # Read from text, because 10 ** -5 is not exactly 1e-05 and would get a label of many digits.
        ticks = [float(f"{factor}e{exponent}") for exponent in exponents for factor in factors]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 3:
            return inside[:: -(-len(inside) // _TICKS)]
    return [low, high]


def _is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
