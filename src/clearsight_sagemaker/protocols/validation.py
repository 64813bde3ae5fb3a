"""Validation of requests against botocore's shapes, with the texts of AWS.

botocore's own validator checks types, but neither lengths above a limit nor patterns, enums and ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from clearsight_sagemaker.protocols.errors import ServiceError, validation_error

_NUMBERS = ("timestamp", "integer", "long", "float", "double")
_MOST_VALUE = 1000  # characters of a wrong value in a message
# Classes of characters that Java has and Python does not; a little more is accepted than in AWS.
_JAVA_CLASSES = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s", r"\p{M}": "", r"\p{S}": "", r"\p{P}": ""}


def check_request(parameters: Mapping[str, Any], shape: Any) -> None:
    """Raise ServiceError unless the parameters fit the input shape of an operation.

    Members that the shape does not have pass: newer clients send them.
    """
    if shape is None:
        return
    try:
        problems = [*_structure_problems(parameters, shape, "")]
        if not problems:
            _check_types(parameters, shape)
    except RecursionError:  # of a shape that contains itself, such as SearchExpression
        raise ServiceError("SerializationException", "The request is nested too deeply.") from None
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise validation_error(count + "; ".join(problems))


def _check_types(parameters: Mapping[str, Any], shape: Any) -> None:
    from botocore.validate import ParamValidator

    if path := next(_booleans_as_numbers(parameters, shape, ""), ""):
        raise ServiceError("SerializationException", f"The value at '{path}' must be a number, and is a boolean.")
    report = ParamValidator().validate(known_members(parameters, shape), shape)
    if report.has_errors():
        raise ServiceError("SerializationException", " ".join(report.generate_report().split("\n")))


def _booleans_as_numbers(value: Any, shape: Any, path: str) -> Iterator[str]:
    """Yield where a boolean stands for a number or a time: to Python it is one."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        for name, inner in value.items():
            if name in shape.members:
                yield from _booleans_as_numbers(inner, shape.members[name], _member_path(path, name))
    elif shape.type_name == "list" and isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from _booleans_as_numbers(inner, shape.member, f"{path}.{number}.member")
    elif shape.type_name == "map" and isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _booleans_as_numbers(inner, shape.value, f"{path}.{key}.member")
    elif isinstance(value, bool) and shape.type_name in _NUMBERS:
        yield path


def known_members(value: Any, shape: Any) -> Any:
    """Return a value without the members of structures that the shape does not have."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        members = shape.members
        return {name: known_members(inner, members[name]) for name, inner in value.items() if name in members}
    if shape.type_name == "list" and isinstance(value, list):
        return [known_members(inner, shape.member) for inner in value]
    if shape.type_name == "map" and isinstance(value, Mapping):
        return {name: known_members(inner, shape.value) for name, inner in value.items()}
    return value


def _problems(value: Any, shape: Any, path: str) -> Iterator[str]:
    if shape.type_name == "structure":
        if isinstance(value, Mapping):
            yield from _structure_problems(value, shape, path)
        return
    for constraint in _broken_constraints(value, shape):
        yield _sentence(value, path, f"Member must {constraint}")
    if shape.type_name == "list" and isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from _problems(inner, shape.member, f"{path}.{number}.member")
    elif shape.type_name == "map" and isinstance(value, Mapping):
        yield from _map_problems(value, shape, path)


def _structure_problems(value: Mapping[str, Any], shape: Any, path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"Value null at '{_member_path(path, name)}' failed to satisfy constraint: Member must not be null"
    for name, inner in value.items():
        if name in shape.members and inner is not None:
            yield from _problems(inner, shape.members[name], _member_path(path, name))


def _map_problems(value: Mapping[str, Any], shape: Any, path: str) -> Iterator[str]:
    for noun, part, items in (("keys", shape.key, value.keys()), ("value", shape.value, value.values())):
        constraints = dict.fromkeys(text for item in items for text in _broken_constraints(item, part))
        if constraints:
            every = ", ".join(f"Member must {text}" for text in constraints)
            yield _sentence(value, path, f"Map {noun} must satisfy constraint: [{every}]")
    for key, inner in value.items():
        if shape.value.type_name in ("structure", "list", "map"):
            yield from _problems(inner, shape.value, f"{path}.{key}.member")


def _broken_constraints(value: Any, shape: Any) -> Iterator[str]:
    """Yield the constraints of a shape that a value breaks, as AWS words them. Wrong types break none."""
    limits = shape.metadata
    if isinstance(value, str | list | Mapping) and shape.type_name in ("string", "list", "map", "blob"):
        yield from _outside(len(value), limits, "length")
    elif isinstance(value, int | float) and not isinstance(value, bool) and shape.type_name not in ("timestamp",):
        yield from _outside(value, limits, "value")
    if not isinstance(value, str) or shape.type_name != "string":
        return
    if limits.get("enum") and value not in limits["enum"]:
        yield f"satisfy enum value set: [{', '.join(limits['enum'])}]"
    # A value beyond its length is wrong already, and patterns may take long on it.
    pattern = limits.get("pattern")
    if pattern and len(value) <= limits.get("max", 1 << 16) and not _fits(pattern, value):
        yield f"satisfy regular expression pattern: {pattern}"


def _outside(number: float, limits: Mapping[str, Any], noun: str) -> Iterator[str]:
    if "max" in limits and number > limits["max"]:
        yield f"have {noun} less than or equal to {limits['max']}"
    if "min" in limits and number < limits["min"]:
        yield f"have {noun} greater than or equal to {limits['min']}"


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    for java, python in _JAVA_CLASSES.items():
        pattern = pattern.replace(java, python)
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:  # a notation of Java alone
        return None


def _fits(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


def _member_path(path: str, name: str) -> str:
    first = name[0].lower() + name[1:]
    return f"{path}.{first}" if path else first


def _sentence(value: Any, path: str, constraint: str) -> str:
    text = value if isinstance(value, str) else _java_text(value)
    text = text if len(text) <= _MOST_VALUE else f"{text[:_MOST_VALUE]}..."
    return f"Value '{text}' at '{path}' failed to satisfy constraint: {constraint}"


def _java_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}={_java_text(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_java_text, value)) + "]"
    return str(value)
