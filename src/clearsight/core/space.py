"""Space: the settings that a study varies, and over which values. Its notation is in tuning.space_syntax."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from clearsight.core.errors import BadChoice, BadValue, EmptyInput
from clearsight.core.recipe import Recipe, fields
from clearsight.core.records import damaged, read_record
from clearsight.core.settings import value_types

Value: TypeAlias = str | int | float | bool | None
Params: TypeAlias = Mapping[str, Value]  # setting -> value, of the dimensions that apply


@dataclass(frozen=True, kw_only=True, slots=True)
class FloatRange:
    """Numbers in [low, high], drawn evenly or, with `log`, by orders of magnitude; with `step` only low + k step."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def grid_values(self, count: int) -> tuple[Value, ...]:
        """Return the values for a grid: all of them with a step, else `count` at equal distances."""
        if self.step is not None:
            # In decimals as they were written: three steps of 0.1 are 0.3, and not a little more.
            low, high, step = (Decimal(str(float(number))) for number in (self.low, self.high, self.step))
            return tuple(float(low + step * index) for index in range(int((high - low) // step) + 1))
        return tuple(_between(self.low, self.high, index, count, log=self.log) for index in range(count))


@dataclass(frozen=True, kw_only=True, slots=True)
class IntRange:
    """Whole numbers in [low, high], evenly or by orders of magnitude; with `step` only low + k step."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    def grid_values(self, count: int) -> tuple[Value, ...]:
        """Return the values for a grid: all of them if there are at most `count`, else `count` at equal distances."""
        values = range(self.low, self.high + 1, self.step)
        if len(values) <= count or self.step > 1:
            return tuple(values)
        spread = (_between(self.low, self.high, index, count, log=self.log) for index in range(count))
        return tuple(dict.fromkeys(round(value) for value in spread))  # small values of a log range round alike


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One of several values without an order."""

    values: tuple[Value, ...]

    def grid_values(self, count: int) -> tuple[Value, ...]:
        """Return all values, whatever `count` is."""
        return self.values


Domain: TypeAlias = FloatRange | IntRange | Choice
_KINDS: dict[str, type[Domain]] = {"real": FloatRange, "whole": IntRange, "choice": Choice}  # names of study.json


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimension:
    """A setting and its domain. condition: settings and their values; the dimension applies only where all match."""

    name: str
    domain: Domain
    condition: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def applies(self, params: Params) -> bool:
        """Return True if the setting is varied in a trial whose earlier settings are `params`."""
        return all(other in params and params[other] in values for other, values in self.condition.items())


@dataclass(frozen=True, slots=True)
class Space:
    """The dimensions of a study, each after those in its condition."""

    dimensions: tuple[Dimension, ...]

    @property
    def names(self) -> list[str]:
        """Names of the settings that are varied, each once."""
        return list(dict.fromkeys(dimension.name for dimension in self.dimensions))

    def check(self, base: Recipe) -> None:
        """Raise the first error of the space, for the recipe that it varies.

        EmptyInput for a space or a choice without values, BadChoice for an unknown setting, BadValue for an empty
        range, a logarithm of zero, a value outside the setting's range, a condition on a setting that no earlier
        dimension varies, or a setting that two dimensions vary in different ways.
        """
        if not self.dimensions:
            raise EmptyInput("--space", "no settings", fix='Pass --tune lr,batch_size or --space "lr=log(1e-5,1e-1)".')
        known = [name for _, name, _ in fields()]
        earlier: dict[str, list[Domain]] = {}
        for dimension in self.dimensions:
            if dimension.name not in known:
                raise BadChoice(f"--space {dimension.name}", "no such setting", got=dimension.name, allowed=known)
            _check_domain(dimension.name, dimension.domain)
            _check_condition(dimension, earlier)
            _check_same_kind(dimension, earlier.get(dimension.name, []))
            domain = dimension.domain  # the recipe has the range: both ends fit if all of it does
            for value in domain.values if isinstance(domain, Choice) else (domain.low, domain.high):
                base.replace(**settings_of({dimension.name: value}))
            earlier.setdefault(dimension.name, []).append(dimension.domain)

    def grid(self, count: int = 5) -> Iterator[dict[str, Value]]:
        """Yield every combination that the conditions allow; a range without steps has `count` values.

        The last dimension varies first.
        """
        yield from _combinations(self.dimensions, {}, count)

    def contains(self, params: Params) -> bool:
        """Return True if every dimension that applies has a value of its domain, and no other setting has a value."""
        matched: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.name not in matched and dimension.applies(matched):
                if dimension.name not in params or not _within(dimension.domain, params[dimension.name]):
                    return False
                matched[dimension.name] = params[dimension.name]
        return len(matched) == len(params)  # no value of a dimension that does not apply

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain JSON values that `from_json` reads."""
        kinds = {kind: name for name, kind in _KINDS.items()}
        return [
            {
                "name": dimension.name,
                "kind": kinds[type(dimension.domain)],
                **asdict(dimension.domain),
                "when": {name: list(values) for name, values in dimension.condition.items()},
            }
            for dimension in self.dimensions
        ]

    @classmethod
    def from_json(cls, rows: Sequence[Mapping[str, Any]], source: str = "space") -> Space:
        """Return the space that `to_json` wrote; raises BadData on `source` for values of another form."""
        dimensions = []
        for row in rows:
            kind = row.get("kind") if isinstance(row, dict) else None
            if not isinstance(kind, str) or kind not in _KINDS:
                raise damaged(source, f"space: a dimension must have one of the kinds {', '.join(_KINDS)}")
            domain = read_record(_KINDS[kind], row, source)
            values = {"name": row.get("name"), "domain": domain, "condition": row.get("when", {})}
            dimensions.append(read_record(Dimension, values, source))
        return cls(tuple(dimensions))


def settings_of(params: Params) -> dict[str, Any]:
    """Return the values of a trial as recipe settings: text for a list setting becomes a list ("512,256" of `head`)."""
    lists = {name for _, name, info in fields() if tuple in value_types(info)}
    return {
        name: [part for part in str(value).split(",") if part] if name in lists and value is not None else value
        for name, value in params.items()
    }


def _between(low: float, high: float, index: int, count: int, *, log: bool) -> float:
    share = index / (count - 1) if count > 1 else 0.0
    if share in (0.0, 1.0):
        return high if share else low  # the exact ends, which exp(log(x)) would round
    return math.exp(math.log(low) + share * math.log(high / low)) if log else low + share * (high - low)


def _within(domain: Domain, value: Value) -> bool:
    if isinstance(domain, Choice):
        return value in domain.values
    # True is an int in Python, and no number of epochs.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not domain.low <= value <= domain.high:
        return False
    steps = (value - domain.low) / domain.step if domain.step is not None else 0.0
    return abs(steps - round(steps)) < 1e-8  # 0.1 * 3 counts as 0.3


def _check_domain(name: str, domain: Domain) -> None:
    flag = f"--space {name}"
    if isinstance(domain, Choice):
        if not domain.values:
            raise EmptyInput(flag, "the list of values is empty", fix=f'For example "{name}=[16,32,64]".')
        # By their text: 1, 1.0 and True are equal in Python, and not the same setting.
        if len(set(map(repr, domain.values))) < len(domain.values):
            raise BadValue(flag, f"{list(domain.values)} contains a value twice", fix="Keep each value once.")
        return
    span = f"{domain.low:g} to {domain.high:g}"
    if not (math.isfinite(domain.low) and math.isfinite(domain.high)):
        raise BadValue(flag, f"both ends of a range must be finite numbers, but this range is {span}")
    if domain.low >= domain.high:
        swapped = "Write the smaller number first." if domain.low > domain.high else ""
        raise BadValue(flag, f"the range {span} is empty", fix=swapped or "Set the value outside the space.")
    if domain.log and domain.low <= 0:
        raise BadValue(flag, f"{domain.low:g} has no logarithm", fix="Start above 0, or use float or int.")
    if domain.step is not None and not 0 < domain.step <= domain.high - domain.low:
        raise BadValue(flag, f"the step {domain.step:g} does not fit into {span}")
    if domain.log and domain.step not in (None, 1):  # IntRange has step 1 by default
        raise BadValue(flag, "a log range cannot have a step", fix="Remove the step.")


def _check_same_kind(dimension: Dimension, earlier: Sequence[Domain]) -> None:
    """Raise BadValue for domains of one setting that differ in more than their ends.

    Samplers and the report give a setting one axis, whatever its conditions.
    """
    domain = dimension.domain
    for other in earlier:
        if isinstance(domain, Choice) or isinstance(other, Choice):
            same = domain == other
        else:
            same = type(domain) is type(other) and domain.log == other.log
        if not same:
            fix = "Use the same values everywhere, or ranges of one kind."
            raise BadValue(f"--space {dimension.name}", "its two domains do not fit together", fix=fix)


def _check_condition(dimension: Dimension, earlier: Mapping[str, Sequence[Domain]]) -> None:
    flag = f"--space {dimension.name}"
    for other, values in dimension.condition.items():
        if other not in earlier:
            raise BadValue(
                flag, f"its condition needs {other}, which no earlier dimension varies", fix=f"Vary {other} first."
            )
        impossible = [value for value in values if not any(_within(domain, value) for domain in earlier[other])]
        if impossible:
            raise BadValue(flag, f"its condition {other} = {impossible[0]} is never true; {other} has other values")


def _combinations(dimensions: Sequence[Dimension], params: dict[str, Value], count: int) -> Iterator[dict[str, Value]]:
    # A setting that an earlier dimension has given a value is not varied again: its dimensions exclude each other.
    remaining = list(
        itertools.dropwhile(lambda dimension: not dimension.applies(params) or dimension.name in params, dimensions)
    )
    if not remaining:
        yield params
        return
    first, *rest = remaining
    for value in first.domain.grid_values(count):
        yield from _combinations(rest, {**params, first.name: value}, count)
