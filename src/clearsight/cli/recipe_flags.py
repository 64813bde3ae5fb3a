"""Recipe fields as command-line options: every field is a flag, none is declared twice."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from rich.markup import escape

from clearsight.core.errors import BadValue
from clearsight.core.recipe import fields
from clearsight.core.settings import choices

# Flags that may be said several times, each with one value.
_REPEATED = {"ignore_class": "NAME", "rule": "RULE", "save": "PATTERN", "on_finding": "ACTION"}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


# Settings that say how data are read; the others of the data section say how a model is shown them.
READING = (
    *("format", "label_column", "id_column", "split_column", "limit"),
    *("on_bad", "ignore_class", "max_pixels", "workers"),
)


def with_recipe_flags(command: Callable[..., Any], names: Iterable[str]) -> Callable[..., Any]:
    """The command with an option for each named recipe field; it gets those that were given as `settings`.

    Values stay words here and are judged by the recipe itself, so a flag, a YAML key and a hyperparameter that arrives
    as a string are read alike.
    """
    wanted = [(section, name, info) for section, name, info in fields() if name in set(names)]

    def parsed(**given: Any) -> Any:
        said = {name: given.pop(name) for _, name, _ in wanted}
        settings = {name: _value(name, word) for name, word in said.items() if word not in (None, [])}
        return command(**given, settings=settings)

    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "settings"]
    flags = [_option(section, name, info) for section, name, info in wanted]
    parsed.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]
    parsed.__doc__, parsed.__name__ = command.__doc__, command.__name__
    return parsed


def _option(section: str, name: str, info: FieldInfo) -> inspect.Parameter:
    extra = info.json_schema_extra
    more = extra["flags"] if isinstance(extra, dict) else []
    assert isinstance(more, list)
    flag = "--" + name.replace("_", "-")
    spellings = [*map(str, more), flag]
    kind: Any = str | None
    if info.annotation is bool:
        spellings, kind = [f"{flag}/--no-{flag[2:]}"], bool | None
    elif name in _REPEATED:
        kind = list[str]
    option = typer.Option(
        *spellings,
        help=escape(_help(info)),
        metavar=None if info.annotation is bool else _metavar(name, info),
        rich_help_panel=f"Recipe: {section}",
        show_default=False,
    )
    default: list[str] | None = [] if name in _REPEATED else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _help(info: FieldInfo) -> str:
    text = info.description or ""
    if "[default" in text or info.default in (None, ()):
        return text
    return f"{text} [default: {info.default}]"


def _metavar(name: str, info: FieldInfo) -> str:
    if name in _REPEATED:
        return _REPEATED[name]
    if words := choices(info):
        return "|".join(words)
    kinds = [kind for kind in _members(info.annotation) if kind is not type(None)]
    if kinds and get_origin(kinds[0]) is tuple:
        return "A,B,..."
    return {int: "INT", float: "FLOAT"}.get(kinds[0] if kinds else str, "TEXT")


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _value(name: str, word: Any) -> Any:
    if name in ("head", "mean", "std"):
        return [part for part in str(word).split(",") if part]
    if name == "time_limit":
        return seconds(str(word))
    return word


def seconds(text: str) -> float:
    """Seconds in "90", "90s", "10m", "1.5h" or "2d"; raises BadValue."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip().lower())
    if not match:
        raise BadValue(f"--time-limit {text}", "say a number of seconds, or 90s, 10m, 2h, 1d")
    return float(match[1]) * _SECONDS[match[2] or "s"]
