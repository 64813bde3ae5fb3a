"""Settings declared once: default, range, unit, help, search range and spellings of a field, for recipes, rules and studies.

Flags, checks, messages, the documentation and the report page all follow from the declaration.
"""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from clearsight.core.errors import BadChoice, BadValue


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    unit: str = "",
    log: bool = False,
    search: str = "",
    flags: tuple[str, ...] = (),
    aliases: tuple[str, ...] = (),
) -> Any:
    """Declare a field: default, help, and range (`low` <= x, `above` < x, x <= `high`, x < `below`).

    unit: shown beside values.  log: a search over the field goes by orders of magnitude.  search: the values that a
    study tries where only the field is named, written as for --space; a choice of words needs none.  flags: further
    spellings on the command line.  aliases: earlier names, and SageMaker's, that are accepted for the same field.
    """
    extra: dict[str, Any] = {"unit": unit, "log": log, "search": search, "flags": [*flags], "aliases": [*aliases]}
    return Field(default, description=help, ge=low, gt=above, le=high, lt=below, json_schema_extra=extra)


class Section(BaseModel):
    """A named group of settings; immutable, and unknown names are refused."""

    # YAML reads `freeze: 3` as a number; on the command line it is a word. Both mean the same.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)


def choices(info: FieldInfo) -> tuple[str, ...]:
    """Return the allowed words of a field that is a choice of words, else ()."""
    for kind in (info.annotation, *get_args(info.annotation)):
        words = get_args(kind)
        if words and all(isinstance(word, str) for word in words):
            return words
    return ()


def aliases(info: FieldInfo) -> tuple[str, ...]:
    """Return the other names of a field."""
    extra = info.json_schema_extra
    names = extra.get("aliases", []) if isinstance(extra, dict) else []
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def bad_value(error: ValidationError, what: str, got: Any, info: FieldInfo | None = None) -> BadValue | BadChoice:
    """Return pydantic's first complaint as one sentence about `what`; a choice of words lists the words."""
    if info is not None and (words := choices(info)):
        return BadChoice(what, "it is not one of the choices", got=got, allowed=words)
    problem = error.errors()[0]["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return BadValue(what, problem[0].lower() + problem[1:])
