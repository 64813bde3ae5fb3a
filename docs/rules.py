"""Print docs/rules.md from the rules themselves: `make docs` writes it, a test compares."""

from __future__ import annotations

import inspect
import runpy
import sys
from pathlib import Path

from pydantic.fields import FieldInfo

from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import aliases
from clearsight.workflow.run.rules import BOOK

HEAD = """# Rules of the debugger and of the profiler

A rule looks at what was saved of a run and answers with one of three verdicts: *found*, *clear*, or *not enough data*,
which says how much there is and how much it needs. While a run trains and long after, the answers are the same.
`--rules` names those to ask (`default`, `all`, `none`, or names), and `--rule "Overfit(patience=3)"` one with
parameters; those of Amazon SageMaker Debugger are accepted by their old names. Severity is what a finding usually has:
*severe* means that the result is worthless or lost, *warning* that it costs accuracy or time, *info* that it is worth
knowing. Where one finding is a consequence of another, it is told below it. From `BatchSize` on the rules are about
speed: they look at what the [profiler](profile.md) measured. Written by `make docs`.

| rule | speaks when | severity |
|---|---|---|
"""
_COUNTED = {
    "steps": "training steps",
    "snapshots": "saved steps",
    "outcomes": "answered images",
    "rounds": "evaluations",
    "looks": "looks at the machine",
    "timed": "timed steps",
}
_limits = runpy.run_path(str(Path(__file__).with_name("settings.py")))["limits"]


def page() -> str:
    """The whole page."""
    rules = dict(BOOK)
    rows = [
        f"| [{name}](#{name.lower()}) | {summary(kind)} | {kind.severity.value}{', on request' * kind.optional} |"
        for name, kind in rules.items()
    ]
    return HEAD + "\n".join(rows) + "\n" + "".join(section(name, kind) for name, kind in rules.items())


def summary(kind: type[Rule]) -> str:
    """The first sentence of the rule's module, without the name in front."""
    first = (inspect.getdoc(sys.modules[kind.__module__]) or "").split("\n\n")[0]
    return escaped(" ".join(first.partition(":")[2].split()).removesuffix("."))


def section(name: str, kind: type[Rule]) -> str:
    """All about one rule."""
    lines = ["", f"## {name}", "", inspect.getdoc(kind) or "", "", needed(kind().needs())]
    if kind.optional:
        lines.append("It is asked by name only: it needs a parameter, or data of its own.")
    if kind.also:
        lines.append(f"It also goes by {', '.join(f'`{other}`' for other in kind.also)}.")
    if kind.explains:
        lines.append(f"It explains {', '.join(kind.explains)}.")
    if kind.model_fields:
        lines += ["", "| parameter | default | range | unit | also | what |", "|---|---|---|---|---|---|"]
        lines += [row(parameter, info) for parameter, info in kind.model_fields.items()]
    if kind.unused:
        lines += ["", f"Accepted and without meaning here: {', '.join(f'`{other}`' for other in kind.unused)}."]
    return "\n".join(lines) + "\n"


def needed(needs: Needs) -> str:
    """What must have been saved, as a sentence."""
    where = "" if needs.mode == "train" else " of validation"
    what = f" with {' and '.join(needs.collections)}" if needs.collections else ""
    counted = _COUNTED[needs.counted]
    return f"Needs {needs.points} {counted if needs.points != 1 else counted.removesuffix('s')}{what}{where}."


def row(name: str, info: FieldInfo) -> str:
    """A parameter's line of the table."""
    bounds = ", ".join(f"{sign} {bound}" for mark in info.metadata for sign, bound in _limits(mark))
    extra = info.json_schema_extra
    unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
    default = "" if info.default in (None, (), "") else f"{info.default}"
    also = ", ".join(f"`{other}`" for other in aliases(info))
    return f"| `{name}` | {default} | {bounds} | {unit} | {also} | {escaped(info.description or '')} |"


def escaped(text: str) -> str:
    """Text that stays in its cell."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
