"""Notation of spaces: "lr=log(1e-5,1e-1)", "batch_size=[16,32,64]", "momentum=float(0.5,0.99) when optimizer=sgd".

    log(A,B)         by orders of magnitude; whole numbers if the setting takes nothing else
    float(A,B)       evenly; float(A,B,STEP) in steps
    int(A,B)         whole numbers; int(A,B,STEP) in steps
    [A,B,C]          one of these values; a value that contains a comma stands in quotes
    ... when X=A|B   only where X is A or B

In YAML and in Python the same text is the value of its setting, lists may be lists, and a choice whose values bring
settings of their own is a mapping: {"optimizer": {"sgd": {"momentum": "float(0.5,0.99)"}, "adamw": {}}}.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from clearsight.core.errors import BadChoice, BadValue, EmptyInput
from clearsight.core.recipe import fields
from clearsight.core.settings import search_values, value_types
from clearsight.core.space import Choice, Dimension, Domain, FloatRange, IntRange, Space, Value

_RANGE = re.compile(r"(?P<kind>[a-z]+)\s*\((?P<numbers>[^()]*)\)")
_KINDS = ("log", "float", "int")
_EXAMPLES = 'Write "lr=log(1e-5,1e-1)", "epochs=int(5,40)" or "batch_size=[16,32,64]".'

Condition: TypeAlias = Mapping[str, tuple[Value, ...]]


def usual_space(names: Iterable[str]) -> Space:
    """Return the space of these settings over the ranges that the recipe declares for them (`--tune lr,batch_size`).

    Raises BadChoice for an unknown setting and for one without such a range.
    """
    ranges = {name: search_values(info) for _, name, info in fields()}
    searchable = [name for name, text in ranges.items() if text]
    dimensions = []
    for name in names:
        if name not in ranges:
            raise BadChoice(f"--tune {name}", "no such setting", got=name, allowed=searchable)
        if name not in searchable:
            fix = f'Give its values: --space "{name}=[A,B,C]".'
            raise BadChoice(f"--tune {name}", "it has no usual range", got=name, allowed=searchable, fix=fix)
        dimensions.append(Dimension(name=name, domain=domain(name, ranges[name])))
    return Space(tuple(dimensions))


def parse_space(texts: Iterable[str]) -> Space:
    """Return the space of `--space` texts, one dimension each."""
    dimensions = []
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            raise BadValue(f"--space {text!r}", "no values", fix=_EXAMPLES)
        dimensions.append(_dimension(_field_name(name), values, {}))
    return Space(tuple(dimensions))


def space_from_mapping(values: Mapping[str, Any]) -> Space:
    """Return the space of a mapping from YAML or Python. Raises BadValue for a value that is not a domain."""
    if not isinstance(values, Mapping):
        raise BadValue("--space", "a space must be a mapping of settings", fix='For example {"lr": "log(1e-5,1e-1)"}.')
    return Space(tuple(_nested(values, {})))


def format_dimension(dimension: Dimension) -> str:
    """Return a dimension as it is written after --space; `parse_space` reads it back as equal."""
    values = dimension.domain
    if isinstance(values, Choice):
        text = f"[{','.join(_quoted(str(value)) for value in values.values)}]"
    else:
        kind = "log" if values.log else "int" if isinstance(values, IntRange) else "float"
        stepped = values.step is not None and not values.log and not (isinstance(values, IntRange) and values.step == 1)
        numbers = (values.low, values.high, values.step) if stepped else (values.low, values.high)
        text = f"{kind}({','.join(map(_number, numbers))})"
    conditions = [f"{name}={'|'.join(map(str, allowed))}" for name, allowed in dimension.condition.items()]
    return f"{dimension.name}={text}" + (f" when {' and '.join(conditions)}" if conditions else "")


def merge_spaces(*spaces: Space) -> Space:
    """Return one space of several; what a later space has for a setting replaces what the earlier ones have."""
    owner = {name: index for index, space in enumerate(spaces) for name in space.names}
    merged = [
        dimension
        for index, space in enumerate(spaces)
        for dimension in space.dimensions
        if owner[dimension.name] == index
    ]
    return Space(tuple(_in_order_of_conditions(merged)))


def domain(name: str, text: str) -> Domain:
    """Return the domain that a text stands for, with values of the setting's type. Raises BadValue or EmptyInput."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        return _choice(name, next(csv.reader([text[1:-1]], skipinitialspace=True), []))
    match = _RANGE.fullmatch(text)
    if not match:
        raise BadValue(f"--space {name}={text}", "neither a range nor a list", fix=_EXAMPLES)
    if match["kind"] not in _KINDS:
        known = [f"{kind}(A,B)" for kind in _KINDS]
        raise BadChoice(f"--space {name}={text}", "no such range", got=f"{match['kind']}(A,B)", allowed=known)
    return _range(name, text, match["kind"], match["numbers"])


def _range(name: str, text: str, kind: str, numbers_text: str) -> Domain:
    flag, log = f"--space {name}={text}", kind == "log"
    try:
        numbers = [float(part) for part in numbers_text.split(",")]
    except ValueError:
        raise BadValue(flag, "the ends of a range must be numbers", fix=_EXAMPLES) from None
    if not all(map(math.isfinite, numbers)):
        raise BadValue(flag, "the ends of a range must be finite numbers", fix=_EXAMPLES)
    if len(numbers) not in ((2,) if log else (2, 3)):
        step = "" if log else ", and may have a step"
        raise BadValue(flag, f"a range has two ends{step}", fix=_EXAMPLES)
    low, high, *step_size = numbers
    whole = _value_type(name) is int
    if kind == "float" and whole:
        raise BadValue(flag, f"{name} takes whole numbers", fix=f"Write int({low:g},{high:g}).")
    if kind == "int" or whole:
        if any(number != int(number) for number in numbers):
            raise BadValue(flag, "the ends of this range must be whole numbers")
        return IntRange(low=int(low), high=int(high), log=log, step=int(step_size[0]) if step_size else 1)
    return FloatRange(low=low, high=high, log=log, step=step_size[0] if step_size else None)


def _choice(name: str, words: Sequence[Any]) -> Choice:
    return Choice(values=tuple(_value(name, word) for word in words))


def _value(name: str, word: Any) -> Value:
    """Return a word as a value of the setting's type; a word that does not fit stays text, for the recipe to check."""
    if isinstance(word, list | tuple):
        return ",".join(map(str, word))
    text, kind = str(word).strip(), _value_type(name)
    # "none" is a value of text settings such as freeze; of other settings it means unset.
    if word is None or (text.lower() in ("none", "default") and kind is not str):
        return None
    if kind is bool and text.lower() in ("true", "false", "yes", "no", "on", "off"):
        return text.lower() in ("true", "yes", "on")
    try:
        return int(text) if kind is int else float(text) if kind is float else text
    except ValueError:
        return text


def _value_type(name: str) -> type:
    """Return bool, int or float for a setting of that type, else str; str for an unknown setting too."""
    info = next((info for _, field, info in fields() if field == name), None)
    types = value_types(info) if info is not None else ()
    return next((kind for kind in (bool, int, float) if kind in types), str)


def _dimension(name: str, text: str, outer: Condition) -> Dimension:
    """Return the dimension of a text with or without a condition. outer: of the choices that it is nested in."""
    values, _, condition = re.sub(r"\s+(when|if)\s+", "\0", text, count=1).partition("\0")
    inner = _conditions(name, condition) if condition else {}
    return Dimension(name=name, domain=domain(name, values), condition={**outer, **inner})


def _conditions(name: str, text: str) -> Condition:
    conditions = {}
    for part in re.split(r"\s+and\s+", text.strip()):
        other, equals, words = part.partition("=")
        if not equals or not words.strip():
            fix = 'Write "momentum=float(0.5,0.99) when optimizer=sgd".'
            raise BadValue(f"--space {name}", f"its condition {part!r} has no value", fix=fix)
        other = _field_name(other)
        conditions[other] = tuple(_value(other, word) for word in words.strip().strip("[]").split("|"))
    return conditions


def _nested(values: Mapping[str, Any], condition: Condition) -> Iterable[Dimension]:
    """Yield the dimensions of a mapping; a mapping inside it is a choice that brings dimensions of its own."""
    for key, content in values.items():
        name = _field_name(str(key))
        if isinstance(content, Mapping):
            yield Dimension(name=name, domain=_choice(name, list(content)), condition=condition)
            for word, inner in content.items():
                if not isinstance(inner, Mapping | None):
                    fix = 'For example {"sgd": {"momentum": "float(0.5,0.99)"}}.'
                    raise BadValue(f"--space {name}", f"{word} must have a mapping of settings, or nothing", fix=fix)
                yield from _nested(inner or {}, {**condition, name: (_value(name, word),)})
        elif isinstance(content, list | tuple):
            yield Dimension(name=name, domain=_choice(name, content), condition=condition)
        elif isinstance(content, FloatRange | IntRange | Choice):
            yield Dimension(name=name, domain=content, condition=condition)
        elif isinstance(content, str):
            yield _dimension(name, content, condition)
        elif content is None:
            raise EmptyInput(f"--space {name}", "no values", fix=_EXAMPLES)
        else:
            raise BadValue(f"--space {name}", f"{content!r} is neither a range nor a list", fix=_EXAMPLES)


def _in_order_of_conditions(dimensions: Sequence[Dimension]) -> Iterable[Dimension]:
    """Yield the dimensions, each after those that its condition names, otherwise in their order."""
    remaining, yielded = list(dimensions), set[str]()
    names = {dimension.name for dimension in dimensions}
    while remaining:
        # A ring of conditions has no ready one: the first goes ahead, and Space.check names the error.
        ready = next((d for d in remaining if all(n in yielded or n not in names for n in d.condition)), remaining[0])
        remaining.remove(ready)
        yielded.add(ready.name)
        yield ready


def _field_name(text: str) -> str:
    return text.strip().replace("-", "_")


def _quoted(word: str) -> str:
    bare = word and word == word.strip() and not set(word) & set(',"')
    return word if bare else '"' + word.replace('"', '""') + '"'


def _number(value: float | None) -> str:
    """Return the shortest text that is read back as the same number."""
    short = f"{value:g}"
    return short if float(short) == value else str(value)
