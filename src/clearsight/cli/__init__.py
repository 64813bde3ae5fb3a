"""The command line: parse, call one workflow verb, print.

`clearsight --help` answers from the table below without importing any command, so it does not wait for torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from clearsight.core.format import replace_unprintable

# name -> (module with `app`, one line of help), in the order in which a newcomer needs them
COMMANDS: dict[str, tuple[str, str]] = {
    "quickstart": ("clearsight.cli.commands.quickstart", "run the whole workflow on included data, in about a minute"),
    "doctor": ("clearsight.cli.commands.doctor", "check this machine: versions, devices, disk, extras, weights"),
    "models": ("clearsight.cli.commands.models", "list networks: size, input, licence, weights on disk, speed here"),
    "data": ("clearsight.cli.commands.data", "check a dataset: counts, unreadable images, duplicates, leaks"),
    "train": ("clearsight.cli.commands.train", "train a classifier on a dataset"),
    "tune": ("clearsight.cli.commands.tune", "search for the best settings with many trials"),
    "debug": ("clearsight.cli.commands.debug", "find out what went wrong in a run, why, and what to change"),
    "profile": ("clearsight.cli.commands.profile", "show where the time goes, in a run or in any command"),
    "watch": ("clearsight.cli.commands.watch", "follow a run in the terminal while it trains"),
    "compare": ("clearsight.cli.commands.compare", "compare runs: settings, curves, scores"),
    "evaluate": ("clearsight.cli.commands.evaluate", "measure a model on labelled images"),
    "predict": ("clearsight.cli.commands.predict", "classify images"),
    "transform": ("clearsight.cli.commands.transform", "classify any number of images into a file; resumable"),
    "serve": ("clearsight.cli.commands.serve", "serve a model over HTTP"),
    "deploy": ("clearsight.cli.commands.deploy", "serve a model from background processes that outlive the command"),
    "endpoints": ("clearsight.cli.commands.endpoints", "list deployed models: status, speed, errors, memory"),
    "endpoint": ("clearsight.cli.commands.endpoint", "logs, update, rollback and scale of a deployed model"),
    "undeploy": ("clearsight.cli.commands.undeploy", "end a deployed model"),
    "report": ("clearsight.cli.commands.report", "write the report of a run or a study again"),
    "export": ("clearsight.cli.commands.export", "pack a model into one file, or put it into another form"),
    "benchmark": ("clearsight.cli.commands.benchmark", "find the fastest runtime of a model on this machine"),
    "completion": ("clearsight.cli.commands.completion", "print the script that lets your shell complete commands"),
}

# Packages beside clearsight add commands with an entry point of this group: NAME = "module:app". The docstring of the
# module begins with "clearsight NAME: " and the line of help.
COMMAND_GROUP = "clearsight.commands"

CLOSED_PIPE = 141  # 128 + SIGPIPE, as shells report it of other programs


def main(argv: Sequence[str] | None = None) -> int:
    """Run `clearsight ARGV` and return its exit code.

    0 success, 1 a bug or a run that diverged, 2 a mistake that the user can correct, 3 a finding at or above
    `debug --fail-on`, 130 stopped by Ctrl-C, 141 where the reader of the output has gone (`| head`).
    """
    if argv is None:
        _with_utf8_names()
    replace_unprintable()
    try:
        code = _answer(argv)
        sys.stdout.flush()  # here and not at exit, where Python prints a traceback if the reader has gone
    except BrokenPipeError:
        from clearsight.workflow.display.terminal import discard_output

        discard_output()
        return CLOSED_PIPE
    return code


def _with_utf8_names() -> None:
    """Start this program again in Python's UTF-8 mode where file names have ASCII alone.

    Python chooses that mode itself in the locale C; with PYTHONUTF8=0 no image below a folder "猫" could be found.
    """
    if sys.getfilesystemencoding() == "ascii" and os.environ.get("PYTHONUTF8") != "1" and sys.executable:
        os.environ["PYTHONUTF8"] = "1"  # a variable, for the worker processes too
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _answer(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help") or words == ["help"]:
        print(overview())
        return 0
    if words[0] in ("-V", "--version"):
        from clearsight import __version__

        print(f"clearsight {__version__}")
        return 0
    from clearsight.cli.messages import run_command

    return run_command(words[0], words[1:], all_commands())


def all_commands() -> dict[str, tuple[str, str]]:
    """Return the commands of the table and those of other packages, in the same form. No command is imported."""
    from importlib.metadata import entry_points

    points = {point.name: point.module for point in entry_points(group=COMMAND_GROUP) if point.name not in COMMANDS}
    return {**COMMANDS, **{name: (module, _first_line(name, module)) for name, module in sorted(points.items())}}


def _first_line(name: str, module: str) -> str:
    """Return the first line of a module's docstring without importing the module; "" where it cannot be found."""
    import ast
    from importlib.util import find_spec
    from pathlib import Path

    try:
        spec = find_spec(module)
        text = Path(spec.origin).read_text(encoding="utf-8") if spec is not None and spec.origin else ""
        line = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    except (ImportError, OSError, SyntaxError, ValueError):  # running the command says more
        return ""
    return line.removeprefix(f"clearsight {name}: ").removesuffix(".")


def overview() -> str:
    """Return the text of `clearsight --help`."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    found = all_commands()
    width = max(map(len, found))
    commands = "\n".join(f"  {bold}{name:<{width}}{plain}  {line}" for name, (_, line) in found.items())
    return f"""{bold}Usage:{plain} clearsight COMMAND [OPTIONS]

Fine-tune, debug, evaluate and serve image classifiers on your own machine.

{bold}Commands:{plain}
{commands}

{bold}Examples:{plain}
  clearsight quickstart
  clearsight data photos/
  clearsight train photos/ --model resnet34 --freeze backbone --epochs 5 --out runs/first
  clearsight serve runs/first --port 8080

`clearsight COMMAND --help` shows the options of a command, `clearsight --version` the version."""
