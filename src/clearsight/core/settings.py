"""Settings declared once: default, range, unit, help, search range and names, for recipes, rules and studies.

Flags, checks, messages, the documentation and the report page all follow from the declaration.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Self, TypeAlias, Union, get_args, get_origin

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.format import parse_duration

_NOUNS = {bool: "true or false", int: "a whole number", float: "a number"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "words"}
_BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    unit: str = "",
    search: str = "",
    flag: str = "",
    flags: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
    log: bool = False,  # without effect: `search` says it; rules of users may pass it
) -> Any:
    """Declare a field: default, help, and range (`low` <= x, `above` < x, x <= `high`, x < `below`).

    unit: shown beside values.  search: the values that a study tries when only the field is named, written as for
    --space; a choice of words needs none.  flag: the command-line flag, if it is not the field's name.  flags: further
    flags.  aliases: earlier names, and SageMaker's, that are accepted for the same field.
    """
    # With the field, where pydantic keeps it for others: so a declaration needs no table beside it.
    extra: dict[str, Any] = {"unit": unit, "search": search, "flag": flag, "flags": [*flags], "aliases": [*aliases]}
    return Field(default, description=help, ge=low, gt=above, le=high, lt=below, json_schema_extra=extra)


def _seconds(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


Seconds: TypeAlias = Annotated[float, BeforeValidator(_seconds)]  # a number, or text such as "90s", "10m", "2h"


class Section(BaseModel):
    """A named group of settings; immutable, and unknown names are errors."""

    # YAML reads `freeze: 3` as a number; on the command line it is a word. Both mean the same.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _read_lists(cls, values: Any) -> Any:
        # One reading of text for flags, keywords and YAML, whoever builds the section.
        if not isinstance(values, Mapping):
            return values
        known = cls.model_fields
        return {name: _plain(value, known[name]) if name in known else value for name, value in values.items()}

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the section with these values; what is left out has its default.

        Raises BadValue or BadChoice with the flag and the value, for the first value that is wrong.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            info = cls.model_fields.get(name)
            if info is None or name not in values:  # an unknown name, or a required one that is missing
                raise BadValue(name, first["msg"][0].lower() + first["msg"][1:]) from None
            raise bad_value(error, f"{flag(name, info)} {values[name]}", info) from None


def _plain(value: Any, info: FieldInfo) -> Any:
    """Return a value of a Python program as a file would have it: a path as text, a number of numpy as a number."""
    if isinstance(value, PurePath):
        value = str(value)
    elif isinstance(value, np.generic):
        value = value.item()
    return read_list(value, info)


def read_list(value: Any, info: FieldInfo) -> Any:
    """Return a single value of a field that takes a list as that list; any other value as it is.

    Text for a list of numbers has them separated by commas: "750,500,250". Text for a list of words is one word, since
    a class name or a rule may have commas: a flag of such a field is repeated instead.
    """
    if tuple not in value_types(info) or not isinstance(value, str | int | float):
        return value
    if is_repeated(info):
        return [value] if isinstance(value, str) else value
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else [value]


def is_repeated(info: FieldInfo) -> bool:
    """Return True for a field with a list of words: its flag may be repeated, each time with one word."""
    return _item_type(info) is str


def declared(section: type[Section]) -> dict[str, FieldInfo]:
    """Return the fields of a section that `setting` declares, by name and in order."""
    return {name: info for name, info in section.model_fields.items() if _extra(info)}


def flag(name: str, info: FieldInfo) -> str:
    return str(_extra(info).get("flag") or "--" + name.replace("_", "-"))


def further_flags(info: FieldInfo) -> tuple[str, ...]:
    """Return the other command-line flags of a field."""
    return tuple(map(str, _extra(info).get("flags", ())))


def aliases(info: FieldInfo) -> tuple[str, ...]:
    """Return the other names of a field."""
    return tuple(map(str, _extra(info).get("aliases", ())))


def unit(info: FieldInfo) -> str:
    """Return the unit of a field's values; "" without one."""
    return str(_extra(info).get("unit", ""))


def meaning(info: FieldInfo) -> str:
    """Return the help of a field without its note on the default."""
    return (info.description or "").partition(" [default")[0]


def search_values(info: FieldInfo) -> str:
    """Return the values that a study tries when only the field is named, as for --space; "" if it has none."""
    words = choices(info)
    return str(_extra(info).get("search", "")) or (f"[{','.join(words)}]" if words else "")


def choices(info: FieldInfo) -> tuple[str, ...]:
    """Return the allowed words of a field that is a choice of words, else ()."""
    for kind in (info.annotation, *get_args(info.annotation)):  # Literal[...], or Literal[...] | None
        words = get_args(kind)
        if words and all(isinstance(word, str) for word in words):
            return words
    return ()


def value_types(info: FieldInfo) -> tuple[type, ...]:
    """Return the types that a field takes, without None: (float,) for `float | None`, (tuple,) for a tuple of any."""
    annotation = info.annotation
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    bare = [get_args(member)[0] if get_origin(member) is Annotated else member for member in members]
    types = [get_origin(member) or member for member in bare]  # tuple for tuple[str, ...]
    return tuple(kind for kind in types if isinstance(kind, type) and kind is not NoneType)


def is_duration(info: FieldInfo) -> bool:
    """Return True for a field of `Seconds`."""
    # Pydantic moves the validator of a plain `Seconds` to the metadata; that of `Seconds | None` stays in the type.
    return Seconds in (info.annotation, *get_args(info.annotation)) or any(
        isinstance(mark, BeforeValidator) and mark.func is _seconds for mark in info.metadata
    )


def bounds(info: FieldInfo) -> list[tuple[str, float]]:
    """Return the ends of a field's range, as pairs of an operator's name (ge, gt, le, lt) and a number."""
    pairs = [(key, getattr(mark, key, None)) for mark in info.metadata for key in _BOUNDS]
    return [(key, bound) for key, bound in pairs if bound is not None]


def range_text(info: FieldInfo) -> str:
    """Return the range of a field as "≥ 1, < 5"; "" without bounds."""
    return ", ".join(f"{_SIGNS[key]} {bound}" for key, bound in bounds(info))


def bad_value(error: ValidationError, subject: str, info: FieldInfo) -> BadValue | BadChoice:
    """Return pydantic's first error as one sentence about `subject`: the allowed words, or the type and the range."""
    first, noun = error.errors()[0], _noun(info)
    if words := choices(info):
        return BadChoice(subject, "not one of the choices", got=first["input"], allowed=words)
    if noun and first["type"] != "value_error":  # the error of a validator, which has a sentence of its own
        limits = [f"{_BOUNDS[key]} {bound:{',' if isinstance(bound, int) else 'g'}}" for key, bound in bounds(info)]
        noun = noun.replace("a ", "a finite ", 1) if first["type"] == "finite_number" else noun
        return BadValue(subject, f"must be {noun}" + (f", {' and '.join(limits)}" if limits else ""))
    problem = first["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("should be", "must be", 1)
    return BadValue(subject, problem[0].lower() + problem[1:])


def _noun(info: FieldInfo) -> str:
    """Return "a whole number", "true or false" or "a list of 3 numbers" for the type of a field; "" for other types."""
    types = value_types(info)
    if tuple not in types:
        return next((noun for kind, noun in _NOUNS.items() if kind in types), "")
    items = _items(info)
    length = "" if Ellipsis in items else f"{len(items)} "
    return f"a list of {length}{_PLURALS.get(_item_type(info), 'values')}"


def _items(info: FieldInfo) -> tuple[Any, ...]:
    """Return the types in the tuple of a field: (int, ...) for `tuple[int, ...] | None`; () for other types."""
    members = (info.annotation, *get_args(info.annotation))
    return next((get_args(member) for member in members if get_origin(member) is tuple), ())


def _item_type(info: FieldInfo) -> Any:
    """Return the type of the items of a field with a list; None for another field."""
    items = _items(info)
    if not items:
        return None
    return get_args(items[0])[0] if get_origin(items[0]) is Annotated else items[0]


def _extra(info: FieldInfo) -> Mapping[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
