"""clearsight watch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clearsight.cli.shared import AsJson
from clearsight.cli.terminal import Terminal

if TYPE_CHECKING:
    from clearsight.workflow.live.run import LiveRun

_QUIET = 300.0  # seconds without a word after which a log is told so

EPILOG = """Ctrl-C ends the watching; the run goes on. Where the output is no terminal, each epoch is a plain line.

Examples:

  clearsight watch runs/first

  clearsight watch runs/first --once

  clearsight watch runs/first --json
"""


def watch(
    run: Annotated[Path, typer.Argument(help="run folder", show_default=False)],
    once: Annotated[bool, typer.Option("--once", help="show the run as it is now and end")] = False,
    every: Annotated[float, typer.Option(help="seconds between looks", min=0.1, max=3600)] = 1.0,
    as_json: AsJson = False,
) -> int:
    """Look on while a run trains in another process: progress, curves, speed, the machine, findings as they come.

    With --json the state is printed once.
    """
    from clearsight.cli.watch_view import state_lines
    from clearsight.workflow.live.run import LiveRun

    terminal, live = Terminal(as_json=as_json), LiveRun(run)
    live.look()
    if as_json:
        terminal.result(live.to_json())
    elif once:
        terminal.say(*state_lines(live))
    else:
        follow(terminal, live, pause=lambda: time.sleep(every), drawn=sys.stdout.isatty())
    return 0


def follow(terminal: Terminal, live: LiveRun, *, pause: Callable[[], None], drawn: bool) -> None:
    """Show the run until it ends or a person has enough. pause: waits between looks.  drawn: on a whole screen."""
    from clearsight.workflow.messages import end_lines

    try:
        if drawn:
            _draw(live, pause)
        else:
            for line in told(live, pause):
                terminal.say(line)
    except KeyboardInterrupt:
        terminal.say(f"no longer watching; the run in {live.path} is not touched")
        return
    terminal.say(*end_lines(live.run))


def told(live: LiveRun, pause: Callable[[], None]) -> Iterator[str]:
    """A line per epoch and per finding, those that were there already first, until the run has ended."""
    from clearsight.reports.kit.format import duration
    from clearsight.workflow.messages import epoch_line

    seen, heard, rewinds, warned = 0, 0, live.rewinds, False
    while True:
        if live.rewinds > rewinds:
            rewinds = live.rewinds
            seen = min(seen, len(live.epochs))
            yield f"back to a checkpoint after step {live.step:,}"
        yield from (epoch_line(epoch) for epoch in live.epochs[seen:])
        yield from live.said[heard:]
        seen, heard = len(live.epochs), len(live.said)
        if live.ended:
            return
        quiet = live.silent > _QUIET
        if quiet and not warned:
            yield f"nothing new for {duration(live.silent)}; the process may be gone"
        warned = quiet
        pause()
        live.look()


def _draw(live: LiveRun, pause: Callable[[], None]) -> None:
    from rich.live import Live

    from clearsight.cli.watch_view import Screen, speaks_unicode

    view = Screen(live, unicode=speaks_unicode())
    with Live(view, screen=True, auto_refresh=False) as drawing:
        while not live.ended:
            pause()
            live.look()
            drawing.refresh()


app = typer.Typer(add_completion=False, rich_markup_mode="rich")
app.command(epilog=EPILOG)(watch)
