"""Runs the cells of a notebook as Jupyter does, with a stand-in for IPython's display, and keeps what they show.

`python -m tests.walks.notebooks NOTEBOOK FOLDER` runs it in FOLDER and writes FOLDER/notebook.html.
"""

from __future__ import annotations

import ast
import html
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


class Notebook:
    """A notebook in execution. names: its variables.  shown: for each cell of code, what it displays, as HTML."""

    def __init__(self, path: Path) -> None:
        self.cells = [
            (cell["cell_type"], "".join(cell["source"]))
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        ]
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.shown: list[list[str]] = []

    def run(self) -> None:
        """Run all cells, each until its end; an error of a cell is raised."""
        with self._as_jupyter():
            for source in (source for kind, source in self.cells if kind == "code"):
                self.shown.append([])
                self._run_cell(source)

    def page(self) -> str:
        """Return the notebook with its outputs as one HTML page."""
        outputs = iter(self.shown)
        parts = []
        for kind, source in self.cells:
            parts.append(f"<pre class={kind}>{html.escape(source)}</pre>")
            parts += next(outputs, []) if kind == "code" else []
        style = "body{font:14px sans-serif;margin:16px;max-width:1100px}.code{background:#f4f4f4;overflow:auto}"
        meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        return f"<!doctype html>{meta}<style>{style} .markdown{{white-space:pre-wrap}}</style>{''.join(parts)}"

    def _run_cell(self, source: str) -> None:
        *statements, last = ast.parse(source).body
        if not isinstance(last, ast.Expr):
            statements.append(last)
        exec(compile(ast.Module(statements, []), "<cell>", "exec"), self.names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), self.names)
            self.shown[-1].append(_as_html(value))

    def _display(self, bundle: dict[str, str], *, raw: bool, display_id: bool) -> SimpleNamespace:
        area, place = self.shown[-1], len(self.shown[-1])
        area.append(bundle["text/html"])
        return SimpleNamespace(update=lambda later, raw: area.__setitem__(place, later["text/html"]))

    @contextmanager
    def _as_jupyter(self) -> Iterator[None]:
        module: Any = ModuleType("IPython")
        module.get_ipython = lambda: SimpleNamespace(kernel=object())
        module.display = ModuleType("IPython.display")
        module.display.display = self._display
        before = {name: sys.modules.get(name) for name in ("IPython", "IPython.display")}
        sys.modules |= {"IPython": module, "IPython.display": module.display}
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = value


def _as_html(value: Any) -> str:
    if type(value).__module__.startswith("plotly"):
        return str(value.to_html(include_plotlyjs=True, full_html=False))
    if hasattr(value, "_repr_html_"):
        return str(value._repr_html_())
    return f"<pre>{html.escape(repr(value))}</pre>"


def main() -> None:
    """Run the notebook and write its page."""
    notebook, folder = Notebook(Path(sys.argv[1])), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    notebook.run()
    Path("notebook.html").write_text(notebook.page(), encoding="utf-8")


if __name__ == "__main__":
    main()
