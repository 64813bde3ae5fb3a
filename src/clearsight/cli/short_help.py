"""Help on one screen for commands with many options: the dozen that matter, and the others with --help-all."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

_PLACEHOLDERS = {"str": "TEXT"}  # names of types -> as settings write them
_EVERYTHING = "clearsight.help_all"  # in the context of a command: --help-all was asked for


class ShortHelp(TyperCommand):
    """Command whose --help is one screen with the options in `essential`, and whose --help-all lists every option.

    The flags of a recipe are too many for one screen.
    """

    essential: tuple[str, ...] = ()  # options by the name of their parameter, in the order of the help

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the short help, or all of it after --help-all."""
        if ctx.meta.get(_EVERYTHING):
            super().format_help(ctx, formatter)
            return
        options: dict[str, Any] = {str(parameter.name): parameter for parameter in self.get_params(ctx)}
        shown = [options[name] for name in (*self.essential, "help_all", "help")]
        arguments = [parameter for parameter in options.values() if parameter.param_type_name == "argument"]
        heads = [
            *((argument.metavar or argument.name.upper(), argument.help) for argument in arguments),
            *(_option_help(option, ctx) for option in shown),
        ]
        width, room = max(len(head) for head, _ in heads), min(shutil.get_terminal_size().columns, 110)
        lines = [*textwrap.wrap(" ".join((self.help or "").split()), room), ""]
        for head, text in heads:
            lines += textwrap.wrap(f"  {head:<{width}}  {text}", room, subsequent_indent=" " * (width + 4))
        lines.append("")
        for line in _plain(self.epilog or "").rstrip().split("\n"):
            lines += textwrap.wrap(line, room, subsequent_indent="      " if line.startswith(" ") else "") or [""]
        formatter.write("\n".join([_usage(ctx.command_path, arguments), "", *lines, ""]))


def _usage(program: str, arguments: Sequence[Any]) -> str:
    names = [(argument.metavar or argument.name.upper(), argument.required) for argument in arguments]
    return " ".join(["Usage:", program, "[OPTIONS]", *(name if needed else f"[{name}]" for name, needed in names)])


def _option_help(option: Any, ctx: Any) -> tuple[str, str]:
    """Return the flags of an option with the placeholder of its value, and its help."""
    kind = str(option.display_type_rich(ctx=ctx) or "").strip("<>").split(" ")[0]  # "<path>", "<int range>"
    words = "" if option.is_flag else option.metavar or _PLACEHOLDERS.get(kind, kind.upper())
    choices = words.count("|") > 2  # they would make the column too wide
    text = f"{option.help} ({words.replace('|', ', ')})" if choices else option.help
    names = [name for name in option.opts if not name.startswith("--")] + option.opts[-1:]  # the last is its own
    return f"{', '.join(dict.fromkeys(names))} {'WORD' if choices else words}".rstrip(), _plain(text)


def _plain(text: str) -> str:
    """Return help text without the escapes that keep Rich from reading [default] as a style."""
    return text.replace("\\[", "[")


def _help_all(context: typer.Context, value: bool) -> None:
    if value and not context.resilient_parsing:
        context.meta[_EVERYTHING] = True
        print(context.get_help(), end="")  # empty where Rich has printed it
        raise typer.Exit


def short_help(essential: Sequence[str]) -> type[TyperCommand]:
    """Return the class of a command whose --help lists these options, by the names of their parameters."""
    return type("ShortHelpOfCommand", (ShortHelp,), {"essential": tuple(essential)})


def with_help_all(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with the flag --help-all, which the command itself does not see."""

    def parsed(*, help_all: bool, **arguments: Any) -> Any:
        return command(**arguments)

    option = typer.Option("--help-all", is_eager=True, callback=_help_all, help="show every option, by section")
    flag = inspect.Parameter(
        "help_all", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
    )
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    parsed.__signature__ = inspect.Signature([*parameters, flag])  # type: ignore[attr-defined]
    parsed.__doc__, parsed.__name__ = command.__doc__, command.__name__
    return parsed
