"""SearchExpression: whether a resource, as a document, fits filters.

A property is a path of members with dots. In a list every element counts, and one that fits is enough. Names of
hyperparameters, metrics and tags may have dots themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clearsight_sagemaker.protocols.errors import ServiceError, validation_error
from clearsight_sagemaker.protocols.json_protocol import seconds_of

_DEEPEST = 20  # expressions in each other
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThan": lambda found, asked: found > asked,
    "GreaterThanOrEqualTo": lambda found, asked: found >= asked,
    "LessThan": lambda found, asked: found < asked,
    "LessThanOrEqualTo": lambda found, asked: found <= asked,
}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_EXISTENCE = ("Exists", "NotExists")


def searchable(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a description: lists of names with values become mappings, as filters name them."""
    document = dict(members)
    if tags := members.get("Tags"):
        document["Tags"] = {tag["Key"]: tag["Value"] for tag in tags}
    if metrics := members.get("FinalMetricDataList"):
        document["Metrics"] = {metric["MetricName"]: metric["Value"] for metric in metrics}
    elif metrics := members.get("Metrics"):
        document["Metrics"] = {metric["MetricName"]: metric for metric in metrics}
    if parameters := members.get("Parameters"):
        document["Parameters"] = {
            name: value.get("NumberValue", value.get("StringValue")) for name, value in parameters.items()
        }
    return document


def check_expression(expression: Mapping[str, Any], depth: int = 0) -> None:
    """Raise ServiceError for an expression that is too deep, or a filter whose operator and value do not fit."""
    if depth > _DEEPEST:
        raise validation_error(f"SearchExpression has more than {_DEEPEST} SubExpressions in each other.")
    nested = [entry for group in expression.get("NestedFilters", []) for entry in group["Filters"]]
    for entry in (*expression.get("Filters", []), *nested):
        operator = entry.get("Operator", "Equals")
        if ("Value" in entry) == (operator in _EXISTENCE):
            verb = "takes no" if operator in _EXISTENCE else "needs a"
            raise validation_error(f"The filter on {entry['Name']} {verb} Value: its Operator is {operator}.")
    for inner in expression.get("SubExpressions", []):
        check_expression(inner, depth + 1)


def fits(document: Mapping[str, Any], expression: Mapping[str, Any]) -> bool:
    """Return True where a document fits an expression that `check_expression` has accepted."""
    results = [
        *(_fits_filter(document, entry) for entry in expression.get("Filters", [])),
        *(_fits_nested(document, group) for group in expression.get("NestedFilters", [])),
        *(fits(document, inner) for inner in expression.get("SubExpressions", [])),
    ]
    if not results:
        return True
    return any(results) if expression.get("Operator") == "Or" else all(results)


def property_values(value: Any, path: str) -> Iterator[Any]:
    """Yield the values of a property."""
    if isinstance(value, list):
        for element in value:
            yield from property_values(element, path)
    elif not path:
        if value is not None:
            yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if path == name or path.startswith(f"{name}."):
                yield from property_values(inner, path[len(name) + 1 :])


def _fits_nested(document: Mapping[str, Any], group: Mapping[str, Any]) -> bool:
    """Return True where one element of a list fits all filters, whose names begin with that of the list."""
    name = group["NestedPropertyName"]
    for element in _elements(document, name):
        parts = [{**entry, "Name": entry["Name"].removeprefix(f"{name}.")} for entry in group["Filters"]]
        if all(_fits_filter(element, part) for part in parts):
            return True
    return False


def _elements(value: Any, path: str) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        for element in value:
            yield from _elements(element, path)
    elif isinstance(value, Mapping) and not path:
        yield value
    elif isinstance(value, Mapping):
        name, _, rest = path.partition(".")
        yield from _elements(value.get(name), rest)


def _fits_filter(document: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    operator, asked = entry.get("Operator", "Equals"), str(entry.get("Value", ""))
    values = list(property_values(document, entry["Name"]))
    if operator == "Exists":
        return bool(values)
    if operator == "NotExists":
        return not values
    if operator == "NotEquals":
        return not any(_equals(value, asked) for value in values)
    return any(_compare(value, operator, asked) for value in values)


def _compare(value: Any, operator: str, asked: str) -> bool:
    if operator == "Contains":
        return asked in _text(value)
    if operator == "In":
        return any(_equals(value, part.strip()) for part in asked.split(","))
    if operator == "Equals":
        return _equals(value, asked)
    found, limit = _number(value), _number(asked)
    return found is not None and limit is not None and _ORDERS[operator](found, limit)


def _equals(value: Any, asked: str) -> bool:
    found, number = _number(value), _number(asked)
    return _text(value) == asked or (found is not None and found == number)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: Any) -> float | None:
    """Return a number, or a time in seconds since 1970; None for another text."""
    if isinstance(value, bool | Mapping):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return _seconds(value)


def _seconds(text: Any) -> float | None:
    # botocore reads almost any text with digits as a time.
    if not isinstance(text, str) or not _DATE.match(text):
        return None
    try:
        return seconds_of({"time": text}, "time")
    except ServiceError:
        return None
