"""The command line: parse, call one workflow verb, print.

`clearsight --help` answers from the table below without importing any command: a person who asks what there is should
not wait for torch.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

# name -> (module with `app`, one line of help), in the order in which a newcomer meets them
COMMANDS: dict[str, tuple[str, str]] = {
    "quickstart": ("clearsight.cli.commands.quickstart", "the whole main job on embedded data, in about a minute"),
    "doctor": ("clearsight.cli.commands.doctor", "is this machine ready? versions, devices, disk, extras, weights"),
    "data": ("clearsight.cli.commands.data", "look at a dataset: counts, bad files, duplicates, leaks"),
    "train": ("clearsight.cli.commands.train", "train a classifier on a dataset"),
    "tune": ("clearsight.cli.commands.tune", "search the settings: many trials, nothing computed twice"),
    "debug": ("clearsight.cli.commands.debug", "what went wrong in a run, why, and what to change"),
    "profile": ("clearsight.cli.commands.profile", "where the time goes: of a run, of any command, of other settings"),
    "watch": ("clearsight.cli.commands.watch", "a run in the terminal while it goes on"),
    "compare": ("clearsight.cli.commands.compare", "runs over each other: settings, curves, scores"),
    "evaluate": ("clearsight.cli.commands.evaluate", "measure a model on labelled images"),
    "predict": ("clearsight.cli.commands.predict", "classify images"),
    "serve": ("clearsight.cli.commands.serve", "answer over HTTP"),
    "report": ("clearsight.cli.commands.report", "write the page of a run or a study again"),
    "export": ("clearsight.cli.commands.export", "pack a model into one file"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of `clearsight ARGV`: 0 well, 1 our fault, 2 the user's, 130 stopped by Ctrl-C.

    3 is that of `debug --fail-on`, where something was found.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] in ("-V", "--version"):
        from clearsight import __version__

        print(f"clearsight {__version__}")
        return 0
    from clearsight.cli.messages import run_command

    return run_command(words[0], words[1:], COMMANDS)


def overview() -> str:
    """What `clearsight --help` prints."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {bold}{name:<{width}}{plain}  {line}" for name, (_, line) in COMMANDS.items())
    return f"""{bold}Usage:{plain} clearsight COMMAND [OPTIONS]

Fine-tune, debug, evaluate and serve image classifiers on your own machine.

{bold}Commands:{plain}
{commands}

{bold}Examples:{plain}
  clearsight quickstart
  clearsight data photos/
  clearsight train photos/ --model resnet34 --freeze backbone --epochs 5 --out runs/first
  clearsight serve runs/first --port 8080

`clearsight COMMAND --help` shows the options of a command; --version the version."""
