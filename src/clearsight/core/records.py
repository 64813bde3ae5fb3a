"""Records: dataclasses and shapes of JSON values, checked field by field when they are read from a file.

A file may have been edited, cut, merged or written by another version, so nothing in it has the right type until it
was checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError

from clearsight.core.errors import BadData, nearest

T = TypeVar("T")


class Shape(BaseModel):
    """Base of the declared keys of a JSON object that stays a dict; keys that are not declared are left alone."""

    model_config = ConfigDict(frozen=True, extra="allow")


def has_shape(shape: type[Shape]) -> AfterValidator:
    """Return the annotation for a dict whose declared keys must fit `shape`. An empty dict stands for "not known"."""

    def check(values: dict[str, Any]) -> dict[str, Any]:
        if values:
            shape.model_validate(values)
        return values

    return AfterValidator(check)


def read_record(kind: type[T], values: object, source: str, *, closed: bool = False) -> T:
    """Return the dataclass `kind` with the JSON `values`; lists become tuples and words members of enums.

    closed: refuse keys that are no field; else they are left out, as of a later version.  source: the file, for errors.
    Raises BadData with the first key whose value is wrong or missing.
    """
    if not isinstance(values, Mapping):
        raise damaged(source, f"it must be a JSON object, not {_noun(values)}")
    if closed and is_dataclass(kind):
        known = [item.name for item in fields(kind)]
        unknown = [key for key in values if key not in known]
        if unknown:
            near = nearest(str(unknown[0]), known)
            hint = f"; did you mean {near!r}?" if near else ""
            raise damaged(source, f"{str(unknown[0])[:80]!r} is none of its fields{hint}")
    try:
        result: T = _adapter(kind)(values)  # type: ignore[arg-type]
        return result
    except ValidationError as error:
        raise damaged(source, first_problem(error)) from None


def read_shape(shape: type[Shape], values: object, source: str) -> dict[str, Any]:
    """Return a JSON object as it is; raises BadData with the first declared key of `shape` whose value is wrong."""
    if not isinstance(values, dict):
        raise damaged(source, f"it must be a JSON object, not {_noun(values)}")
    try:
        shape.model_validate(values)
    except ValidationError as error:
        raise damaged(source, first_problem(error)) from None
    return values


def damaged(source: str, problem: str) -> BadData:
    """Return the error for a file whose JSON does not have the right form, worded once."""
    return BadData(source, f"it is damaged ({problem})", fix="Restore it.")


def first_problem(error: ValidationError) -> str:
    """Return pydantic's first error as a clause: `scores.valid: input must be a valid dictionary`."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    text = first["msg"].removeprefix("Value error, ").replace("should ", "must ", 1)
    place = ".".join(str(part) for part in first["loc"])[:100]
    return f"{place}: {text[:1].lower()}{text[1:200]}" if place else text[:200]


def _noun(value: object) -> str:
    return {type(None): "null", list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")


@lru_cache
def _adapter(kind: type[Any]) -> Callable[[object], Any]:
    return TypeAdapter(kind).validate_python  # built once for a type: it takes milliseconds
