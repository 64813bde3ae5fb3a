"""Space: which recipe fields a study varies, and over which values. Plain data; how it is written stands elsewhere."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias, get_args, get_origin

from clearsight.core.errors import BadChoice, BadValue, EmptyInput
from clearsight.core.recipe import Recipe, fields

Value: TypeAlias = str | int | float | bool | None
Params: TypeAlias = Mapping[str, Value]  # one point of a space: field name -> value, of the fields that apply


@dataclass(frozen=True, kw_only=True, slots=True)
class FloatRange:
    """Numbers in [low, high], drawn evenly or, with `log`, by orders of magnitude; with `step` only low + k step."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def points(self, most: int) -> tuple[Value, ...]:
        """Values that stand for the range in a grid: those of its steps, else `most` of equal distance."""
        if self.step is not None:
            # In decimals as they were written: three steps of 0.1 are 0.3, and not a little more.
            low, high, step = (Decimal(str(float(number))) for number in (self.low, self.high, self.step))
            return tuple(float(low + step * place) for place in range(int((high - low) // step) + 1))
        return tuple(_between(self.low, self.high, place, most, log=self.log) for place in range(most))


@dataclass(frozen=True, kw_only=True, slots=True)
class IntRange:
    """Whole numbers in [low, high], evenly or by orders of magnitude; with `step` only low + k step."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    def points(self, most: int) -> tuple[Value, ...]:
        """Values that stand for the range in a grid: all where there are few, else `most` of equal distance."""
        every = range(self.low, self.high + 1, self.step)
        if len(every) <= most or self.step > 1:
            return tuple(every)
        spread = (_between(self.low, self.high, place, most, log=self.log) for place in range(most))
        return tuple(dict.fromkeys(round(value) for value in spread))


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One of some values, in no order."""

    values: tuple[Value, ...]

    def points(self, most: int) -> tuple[Value, ...]:
        """All of them, however many."""
        return self.values


Domain: TypeAlias = FloatRange | IntRange | Choice
_KINDS: dict[str, type[FloatRange] | type[IntRange] | type[Choice]] = {
    "real": FloatRange,
    "whole": IntRange,
    "choice": Choice,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimension:
    """A recipe field with its domain. when: it applies only where those fields have one of those values."""

    name: str
    domain: Domain
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def applies(self, params: Params) -> bool:
        """Whether the field is varied at a point whose earlier fields are `params`."""
        return all(other in params and params[other] in values for other, values in self.when.items())


@dataclass(frozen=True, slots=True)
class Space:
    """The dimensions of a study, each after those that its condition names."""

    dimensions: tuple[Dimension, ...]

    @property
    def names(self) -> list[str]:
        """The fields that are varied, each once."""
        return list(dict.fromkeys(dimension.name for dimension in self.dimensions))

    def check(self, base: Recipe) -> None:
        """Raise what is wrong with the space, given the recipe that it varies.

        EmptyInput for a space or a choice of nothing, BadChoice for an unknown field, BadValue for an empty range, a
        logarithm of zero, a value that the field does not take, a condition on a field that is not varied before, or a
        field that is varied twice in different ways.
        """
        if not self.dimensions:
            raise EmptyInput(
                "--space", "nothing is varied", fix='Say --tune lr,batch_size or --space "lr=log(1e-5,1e-1)".'
            )
        known = [name for _, name, _ in fields()]
        before: dict[str, list[Domain]] = {}
        for dimension in self.dimensions:
            if dimension.name not in known:
                what = f"--space {dimension.name}"
                raise BadChoice(what, "there is no such setting", got=dimension.name, allowed=known)
            _check_domain(dimension.name, dimension.domain)
            _check_condition(dimension, before)
            _check_twice(dimension, before.get(dimension.name, []))
            for value in _edges(dimension.domain):
                base.replace(**settings_of({dimension.name: value}))
            before.setdefault(dimension.name, []).append(dimension.domain)

    def grid(self, most: int = 5) -> Iterator[dict[str, Value]]:
        """Every combination, conditions honoured; a range without steps gives `most` values. The last varies first."""
        yield from _combined(self.dimensions, {}, most)

    def holds(self, params: Params) -> bool:
        """Whether a point lies in the space: every field that applies has a value of its domain, and no other has."""
        found: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.name not in found and dimension.applies(found):
                if dimension.name not in params or not _within(dimension.domain, params[dimension.name]):
                    return False
                found[dimension.name] = params[dimension.name]
        return len(found) == len(params)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain JSON values that `from_json` reads."""
        kinds = {kind: name for name, kind in _KINDS.items()}
        return [
            {
                "name": one.name,
                "kind": kinds[type(one.domain)],
                **asdict(one.domain),
                "when": {name: list(values) for name, values in one.when.items()},
            }
            for one in self.dimensions
        ]

    @classmethod
    def from_json(cls, rows: Sequence[Mapping[str, Any]]) -> Space:
        """The space that `to_json` gave."""
        dimensions = []
        for row in rows:
            rest = {key: value for key, value in row.items() if key not in ("name", "kind", "when")}
            if "values" in rest:
                rest["values"] = tuple(rest["values"])
            when = {name: tuple(values) for name, values in row["when"].items()}
            dimensions.append(Dimension(name=row["name"], domain=_KINDS[row["kind"]](**rest), when=when))
        return cls(tuple(dimensions))


def settings_of(params: Params) -> dict[str, Any]:
    """A point as recipe settings: the words of a field that holds several become a list ("512,256" of `head`)."""
    several = {name for _, name, info in fields() if _is_tuple(info.annotation)}
    return {
        name: [part for part in str(value).split(",") if part] if name in several and value is not None else value
        for name, value in params.items()
    }


def _is_tuple(kind: Any) -> bool:
    return any(get_origin(one) is tuple for one in (kind, *get_args(kind)))


def _between(low: float, high: float, place: int, count: int, *, log: bool) -> float:
    share = place / (count - 1) if count > 1 else 0.0
    if share in (0.0, 1.0):
        return high if share else low  # not the logarithm's rounding of them
    return math.exp(math.log(low) + share * math.log(high / low)) if log else low + share * (high - low)


def _edges(domain: Domain) -> tuple[Value, ...]:
    """Values that must be taken by the field for all of the domain to be."""
    return domain.values if isinstance(domain, Choice) else (domain.low, domain.high)


def _within(domain: Domain, value: Value) -> bool:
    if isinstance(domain, Choice):
        return value in domain.values
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not domain.low <= value <= domain.high:
        return False
    places = (value - domain.low) / domain.step if domain.step is not None else 0.0
    return abs(places - round(places)) < 1e-8


def _check_domain(name: str, domain: Domain) -> None:
    what = f"--space {name}"
    if isinstance(domain, Choice):
        if not domain.values:
            raise EmptyInput(what, "there is nothing to choose from", fix=f'For example "{name}=[16,32,64]".')
        if len(set(map(repr, domain.values))) < len(domain.values):
            raise BadValue(what, f"a value stands twice in {list(domain.values)}", fix="Name each once.")
        return
    span = f"{domain.low:g} to {domain.high:g}"
    if not (math.isfinite(domain.low) and math.isfinite(domain.high)):
        raise BadValue(what, f"a range must end somewhere, this one goes from {span}")
    if domain.low >= domain.high:
        fix = "Say the smaller number first." if domain.low > domain.high else "Leave it out of the space and set it."
        raise BadValue(what, f"the range {span} is empty", fix=fix)
    if domain.log and domain.low <= 0:
        raise BadValue(
            what, f"{domain.low:g} has no logarithm", fix="Begin above 0, or say float or int for even steps."
        )
    if domain.step is not None and not 0 < domain.step <= domain.high - domain.low:
        raise BadValue(what, f"a step of {domain.step:g} does not fit into {span}")
    if domain.log and domain.step not in (None, 1):
        raise BadValue(what, "a range by orders of magnitude has no even steps", fix="Leave the step out.")


def _check_twice(dimension: Dimension, before: Sequence[Domain]) -> None:
    """A field may have other ends under another condition, but it stays one kind of quantity."""
    for other in before:
        one = dimension.domain
        alike = type(one) is type(other) and (
            one == other if isinstance(one, Choice) or isinstance(other, Choice) else one.log == other.log
        )
        if not alike:
            fix = "Vary it over the same values everywhere, or over ranges of one kind."
            raise BadValue(f"--space {dimension.name}", "it is varied in two ways that do not go together", fix=fix)


def _check_condition(dimension: Dimension, before: Mapping[str, Sequence[Domain]]) -> None:
    for other, values in dimension.when.items():
        what = f"--space {dimension.name}"
        if other not in before:
            raise BadValue(what, f"it waits for {other}, which is not varied before it", fix=f"Vary {other} first.")
        lost = [value for value in values if not any(_within(one, value) for one in before[other])]
        if lost:
            raise BadValue(what, f"it waits for {other} = {lost[0]}, which {other} never is")


def _combined(left: Sequence[Dimension], params: dict[str, Value], most: int) -> Iterator[dict[str, Value]]:
    waiting = list(itertools.dropwhile(lambda one: not one.applies(params) or one.name in params, left))
    if not waiting:
        yield params
        return
    first, *rest = waiting
    for value in first.domain.points(most):
        yield from _combined(rest, {**params, first.name: value}, most)
