"""clearsight watch: a run in the terminal while it trains."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from clearsight.cli.shared import AsJson, RunFolder, command_app
from clearsight.core.format import duration
from clearsight.core.run import Run
from clearsight.core.stop import handling
from clearsight.workflow.display.terminal import Terminal, shows_unicode

if TYPE_CHECKING:
    from clearsight.workflow.live import LiveRun

_SILENT = 300.0  # seconds without output after which a log gets a line; the screen has a minute, and shows it at once

EPILOG = """Ctrl-C stops watching and does not touch the run. If the output is not a terminal, each epoch is a plain
line.

Examples:
  clearsight watch runs/first
  clearsight watch runs/first --once
  clearsight watch runs/first --json
"""


def watch(
    run: RunFolder,
    once: Annotated[bool, typer.Option("--once", help="show the state now and exit")] = False,
    every: Annotated[float, typer.Option(help="seconds between updates", min=0.1, max=3600)] = 1.0,
    as_json: AsJson = False,
) -> int:
    """Follow a run that trains in another process: progress, curves, speed, the machine, new findings.

    With --json the state is printed once.
    """
    from clearsight.cli.watch_view import state_lines
    from clearsight.workflow.live import LiveRun

    terminal, live = Terminal(as_json=as_json), LiveRun(run)
    live.update()
    if as_json:
        terminal.print_json(live.to_json())
    elif once:
        terminal.print(*state_lines(live))
    else:
        follow(terminal, live, pause=lambda: time.sleep(every), full_screen=sys.stdout.isatty())
    return 0


def follow(terminal: Terminal, live: LiveRun, *, pause: Callable[[], None], full_screen: bool) -> None:
    """Show the run until it ends or Ctrl-C. pause: waits between updates."""
    from rich.live import Live

    from clearsight.cli.watch_view import Screen
    from clearsight.workflow.messages import end_lines, external_end_lines

    try:
        # A shell ignores SIGINT for a command in the background of a script: without a handler nothing would end this.
        with handling([signal.SIGINT], signal.default_int_handler):
            if full_screen:
                with Live(Screen(live, unicode=shows_unicode()), screen=True, auto_refresh=False) as drawing:
                    while not live.ended:
                        pause()
                        live.update()
                        drawing.refresh()
            else:
                for line in new_lines(live, pause):
                    terminal.print(line)
    except KeyboardInterrupt:
        terminal.print(f"no longer watching; the run in {live.path} goes on")
        return
    run = live.run
    terminal.print(*(end_lines(run) if isinstance(run, Run) else external_end_lines(run)))


def new_lines(live: LiveRun, pause: Callable[[], None]) -> Iterator[str]:
    """Yield a line per epoch and per finding, first those so far, until the run has ended."""
    from clearsight.workflow.messages import epoch_line

    epochs, findings, rewinds, is_silent = 0, 0, live.metrics.rewinds, False
    while True:
        if live.metrics.rewinds > rewinds:  # resumed from a checkpoint: its epochs since then come again
            rewinds = live.metrics.rewinds
            epochs = min(epochs, len(live.metrics.epochs))
            yield f"back to the checkpoint after step {live.metrics.step:,}"
        yield from (epoch_line(epoch) for epoch in live.metrics.epochs[epochs:])
        yield from live.lines_so_far()[findings:]
        epochs, findings = len(live.metrics.epochs), len(live.lines_so_far())
        if live.ended:
            return
        was_silent, is_silent = is_silent, live.silent_seconds > _SILENT
        if is_silent and not was_silent:
            yield f"no output for {duration(live.silent_seconds)}; the process may have died"
        pause()
        live.update()


app = command_app(watch, EPILOG)
