"""Output of calls from Python: in place in Jupyter, as the command line in a terminal, none elsewhere."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

from clearsight.core.errors import BadChoice
from clearsight.core.safe_text import printable_line
from clearsight.workflow.display.terminal import Terminal

Show: TypeAlias = Literal["auto"] | bool

_EVERY = 0.25  # seconds between two updates of a bar: a browser draws no more, and each is a message of the kernel
_MOST = 300  # lines that stay in the output of a cell
_BLOCK = "margin:0;font-family:ui-monospace,monospace;font-size:13px;line-height:1.4"
# On a narrow screen a line continues below what it says, beside its first word: words take 9 columns.
_LINE = "white-space:pre-wrap;overflow-wrap:anywhere;padding-left:9ch;text-indent:-9ch"


class NotebookOutput(Terminal):
    """Output of a call in a notebook: lines and bars in one area that is updated in place.

    Only IPython's display protocol is used, which every notebook has; no widgets.
    """

    def __init__(self) -> None:
        super().__init__(as_json=False)
        self._lines: list[str] = []
        self._bars: dict[str, tuple[int, int]] = {}  # task -> (done, total)
        self._area: Any = None  # IPython's handle of what is displayed
        self._updated = 0.0
        self._has_bars = False  # what is displayed has bars, also of tasks that have ended since

    @property
    def is_interactive(self) -> bool:
        """False: tables of Rich are drawn with the codes of a terminal."""
        return False

    def print(self, *lines: str) -> None:
        """Add lines to the output of the cell."""
        self._lines = [*self._lines, *map(printable_line, lines)][-_MOST:]
        self._update()

    def progress(self, task: str, done: int, total: int) -> None:
        """Show how much of a task is done."""
        if done < total:
            self._bars[task] = (done, total)
        else:
            self._bars.pop(task, None)
        if time.monotonic() - self._updated >= _EVERY:
            self._update()

    @contextmanager
    def working(self) -> Iterator[Terminal]:
        """Show bars within the block; none is left after it, however it ends."""
        try:
            yield self
        finally:
            self._bars.clear()
            if self._has_bars:
                self._update()

    def _update(self) -> None:
        # Here and not above: a notebook has IPython loaded, and nobody else needs it.
        from IPython.display import display

        self._updated, self._has_bars = time.monotonic(), bool(self._bars)
        bundle = {"text/html": self.to_html(), "text/plain": "\n".join(self._lines)}
        if self._area is None:
            self._area = display(bundle, raw=True, display_id=True)
        else:
            self._area.update(bundle, raw=True)

    def to_html(self) -> str:
        """Return the lines and the bars as HTML in the colours of the notebook."""
        bars = "".join(
            f'<div style="{_BLOCK}">{html.escape(task)} <progress value="{done}" max="{total}"></progress> '
            f"{done:,} of {total:,}</div>"
            for task, (done, total) in self._bars.items()
        )
        lines = "".join(f'<div style="{_LINE}">{html.escape(line) or "&nbsp;"}</div>' for line in self._lines)
        return f'<div style="{_BLOCK}">{lines}</div>{bars}'


class NoOutput(Terminal):
    """Output of a call that shows nothing."""

    def __init__(self) -> None:
        super().__init__(as_json=False)

    @property
    def is_interactive(self) -> bool:
        """False: nothing is drawn."""
        return False

    def print(self, *lines: str) -> None:
        """Drop the lines."""

    def progress(self, task: str, done: int, total: int) -> None:
        """Show nothing, however long it takes."""

    @contextmanager
    def working(self) -> Iterator[Terminal]:
        """Show no bars."""
        yield self


def output_of(progress: object) -> Terminal:
    """Return the output of a call by its argument `progress`.

    True: shown, in Jupyter in place, else as the command line does.  False: nothing.  "auto": shown in Jupyter and in a
    terminal. Raises BadChoice for anything else.
    """
    if progress not in ("auto", True, False):
        raise BadChoice(f"progress={progress!r}", "no such choice", got=progress, allowed=('"auto"', "True", "False"))
    if progress is False:
        return NoOutput()
    if in_notebook():
        return NotebookOutput()
    if progress == "auto" and not sys.stdout.isatty():
        return NoOutput()
    return Terminal(as_json=False)


def in_notebook() -> bool:
    """Return True in the process of a notebook: Jupyter, JupyterLab, Colab, VS Code."""
    ipython = sys.modules.get("IPython")  # a notebook has loaded it; IPython in a terminal has no kernel
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def show_result(output: Terminal, progress: object, lines: Iterable[str]) -> None:
    """Print the result of a call, unless the session shows it anyway.

    A session (Jupyter, the prompt of Python) shows what a call returns; a script has to be told.
    """
    if progress is True or not (in_notebook() or hasattr(sys, "ps1")):
        output.print(*lines)
