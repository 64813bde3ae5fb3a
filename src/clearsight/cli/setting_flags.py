"""Command-line options of settings: each setting of a recipe or of a study plan is a flag, declared once in core."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, NamedTuple

import typer
from pydantic.fields import FieldInfo
from rich.markup import escape

from clearsight.core.recipe import fields
from clearsight.core.settings import choices, declared, flag, further_flags, is_duration, is_repeated, value_types
from clearsight.core.study import StudyPlan

# Placeholders of repeated flags in help.
_PLACEHOLDERS = {
    "ignore_class": "NAME",
    "rule": "RULE",
    "save": "PATTERN",
    "on_finding": "ACTION",
    "warm_start": "STUDY",
}

# Settings of how data are read. The other settings of the data section decide how a model sees the images.
READING = (
    *("format", "label_column", "id_column", "split_column", "group_column", "image_folder", "class_level"),
    *("label_check", "limit"),
    *("on_bad", "ignore_class", "max_pixels", "workers"),
)


class Option(NamedTuple):
    """A setting as a command-line option, in a panel of --help."""

    panel: str
    name: str
    info: FieldInfo


def with_recipe_flags(command: Callable[..., Any], names: Iterable[str]) -> Callable[..., Any]:
    """Return the command with an option for each of these recipe settings; it receives the given ones as `settings`."""
    selected = set(names)
    options = [Option(f"Recipe: {section}", name, info) for section, name, info in fields() if name in selected]
    return _with_options(command, "settings", options)


def with_plan_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with an option for each setting of a study plan; it receives the given ones as `plan`."""
    return _with_options(command, "plan", [Option("Study", name, info) for name, info in declared(StudyPlan).items()])


def _with_options(command: Callable[..., Any], parameter: str, options: Sequence[Option]) -> Callable[..., Any]:
    """Return the command with `options` in place of the keyword `parameter`, which receives {name: value} of them.

    Values stay text here and the declaration checks them, so a flag, a YAML key and a hyperparameter that arrives as
    text are read alike.
    """

    def parsed(**arguments: Any) -> Any:
        texts = {option.name: arguments.pop(option.name) for option in options}
        values = {name: text for name, text in texts.items() if text not in (None, [])}
        return command(**arguments, **{parameter: values})

    parameters = inspect.signature(command, eval_str=True).parameters.values()
    flags = [_parameter(option) for option in options]
    signature = inspect.Signature([*(p for p in parameters if p.name != parameter), *flags])
    parsed.__signature__ = signature  # type: ignore[attr-defined]
    parsed.__doc__, parsed.__name__ = command.__doc__, command.__name__
    return parsed


def _parameter(option: Option) -> inspect.Parameter:
    name, info = option.name, option.info
    long_flag = flag(name, info)
    names: list[str] = [*further_flags(info), long_flag]
    kind: Any = str | None
    if bool in value_types(info):
        names, kind = [f"{long_flag}/--no-{long_flag[2:]}"], bool | None
    elif is_repeated(info):
        kind = list[str]
    declaration = typer.Option(
        *names,
        help=escape(_help(info)),  # or Rich takes "[default: 32]" for a style
        metavar=_metavar(option),
        rich_help_panel=option.panel,
        show_default=False,  # typer would show None: the help text has the default of the declaration
    )
    # Empty and not the default of the setting, so that a flag which is not given overrides nothing in a --recipe.
    default: list[str] | None = [] if is_repeated(info) else None
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=default, annotation=Annotated[kind, declaration])


def _help(info: FieldInfo) -> str:
    text = info.description or ""
    if "[default" in text or info.default in (None, (), ""):
        return text
    return f"{text} [default: {info.default}]"


def _metavar(option: Option) -> str | None:
    """Return the placeholder of the value in --help; None for a flag without one."""
    _, name, info = option
    types = value_types(info)
    if bool in types:
        return None
    if is_repeated(info):
        return _PLACEHOLDERS.get(name, "TEXT")
    if words := choices(info):
        return "|".join(words)
    if is_duration(info):
        return "TIME"
    return "A,B,..." if tuple in types else "INT" if int in types else "FLOAT" if float in types else "TEXT"
