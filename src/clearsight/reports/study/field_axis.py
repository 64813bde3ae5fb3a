"""FieldAxis: where the values of a varied field stand on an axis, whatever its kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from clearsight.core.space import Choice, IntRange, Params, Space, Value
from clearsight.core.trial import Trial
from clearsight.reports.charts.learning import named_ticks
from clearsight.reports.kit.format import general


@dataclass(frozen=True)
class FieldAxis:
    """A field with the ends of its range, or with its values where it is a choice.

    log: by orders of magnitude.  whole: whole numbers alone.  choices: in their order; () for a range.
    """

    name: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    choices: tuple[Value, ...] = ()

    @classmethod
    def of(cls, name: str, space: Space, trials: Sequence[Trial]) -> FieldAxis:
        """The axis of a field that the space varies, wide enough for its trials too (a range may have been changed)."""
        domains = [one.domain for one in space.dimensions if one.name == name]
        values = [trial.params[name] for trial in trials if name in trial.params]
        numbers = [float(value) for value in values if _is_number(value)]
        ranges = [one for one in domains if not isinstance(one, Choice)]
        if len(ranges) < len(domains) or len(numbers) < len(values):
            listed = [value for one in domains if isinstance(one, Choice) for value in one.values]
            every = {repr(value): value for value in (*listed, *values)}  # by repr, since 1 equals True
            return cls(name, 0.0, float(max(len(every) - 1, 1)), choices=tuple(every.values()))
        low, high = min([*(one.low for one in ranges), *numbers]), max([*(one.high for one in ranges), *numbers])
        log, whole = any(one.log for one in ranges), all(isinstance(one, IntRange) for one in ranges)
        return cls(name, float(low), float(high), log=log and low > 0, whole=whole)

    def holds(self, params: Params) -> bool:
        """Whether a point has a place on it."""
        value = params.get(self.name)
        return self.name in params and (bool(self.choices) or _is_number(value))

    def at(self, params: Params) -> float:
        """The coordinate of a point that has a place: the number, or which of the choices it is."""
        value = params[self.name]
        if self.choices:
            return float([repr(one) for one in self.choices].index(repr(value)))
        assert isinstance(value, int | float)
        return float(value)

    def share(self, params: Params) -> float:
        """The same from 0 at one end of the axis to 1 at the other."""
        place = self.at(params)
        if self.log:
            return math.log(place / self.low) / math.log(self.high / self.low) if self.high > self.low else 0.5
        return (place - self.low) / (self.high - self.low) if self.high > self.low else 0.5

    def value(self, share: float) -> float:
        """The number at a share of the axis of a range."""
        if self.log:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)

    def marks(self) -> list[tuple[float, str]]:
        """(share, label) of what is written along the axis: ends and middle of a range, or the choices."""
        if self.choices:
            return [(place / max(len(self.choices) - 1, 1), said(value)) for place, value in enumerate(self.choices)]
        middle = self.value(0.5)
        label = str(round(middle)) if self.whole else f"{middle:.3g}"
        at = self.share({self.name: round(middle) if self.whole else middle})
        return [(0.0, general(self.low)), (at, label), (1.0, general(self.high))]

    def look(self) -> dict[str, Any]:
        """The axis for Plotly."""
        if self.choices:
            return {"showgrid": False, **named_ticks([said(value) for value in self.choices])}
        if self.log:
            span = (math.log10(self.low), math.log10(self.high))
            margin = 0.03 * (span[1] - span[0])
            ticks = _log_ticks(self.low, self.high)
            labels = {"tickmode": "array", "tickvals": ticks, "ticktext": [general(one) for one in ticks]}
            return {"type": "log", "range": [span[0] - margin, span[1] + margin], **labels}
        margin = 0.03 * (self.high - self.low)
        return {"range": [self.low - margin, self.high + margin], "nticks": 6}


def said(value: Value) -> str:
    """A value of a field in words."""
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return general(value) if isinstance(value, float) else str(value)


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two ends: powers of ten, with 2 and 5 between them where those are few; at most eight."""
    for factors in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [float(f"{factor}e{exponent}") for exponent in exponents for factor in factors]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 3:
            return inside[:: -(-len(inside) // 8)]
    return [low, high]


def _is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
