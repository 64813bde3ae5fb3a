"""Print docs/rules.md from the rules themselves: `make docs` writes it, a test compares."""

from __future__ import annotations

import inspect
import sys

from pydantic.fields import FieldInfo

from clearsight.core.rule import Needs, Rule
from clearsight.core.settings import aliases, range_text, unit
from clearsight.workflow.run.rules import ALL_RULES

HEAD = """# Rules of the debugger and of the profiler

A rule judges the saved data of a run with one of three verdicts: *found*, *clear*, or *not enough data*, which says how
much there is and how much the rule needs. It gives the same findings while a run trains and afterwards. `--rules`
selects rules (`default`, `all`, `none`, or names), and `--rule "Overfit(patience=3)"` adds one with parameters; the
parameters of Amazon SageMaker Debugger's rules are accepted by their names. The severity in the table is the usual one:
*severe* means that the result is worthless or lost, *warning* that accuracy or time is lost, *info* that it is worth
knowing. A finding that is a consequence of another one is listed below it. The rules from `BatchSize` on are about
speed: they judge the measurements of the [profiler](profile.md). Written by `make docs`.

| rule | finds | severity |
|---|---|---|
"""
_COUNTED = {
    "steps": "training steps",
    "snapshots": "saved steps",
    "predictions": "predictions",
    "evaluations": "evaluations",
    "samples": "profiler samples",
    "timed_steps": "timed steps",
}


def page() -> str:
    """Return the whole page."""
    rules = dict(ALL_RULES)
    rows = [
        f"| [{name}](#{name.lower()}) | {summary(kind)} | {kind.severity.value}{', by name only' * kind.optional} |"
        for name, kind in rules.items()
    ]
    return HEAD + "\n".join(rows) + "\n" + "".join(section(name, kind) for name, kind in rules.items())


def summary(kind: type[Rule]) -> str:
    """Return the first sentence of the rule's module, without the name in front."""
    first = (inspect.getdoc(sys.modules[kind.__module__]) or "").split("\n\n")[0]
    return escaped(" ".join(first.partition(":")[2].split()).removesuffix("."))


def section(name: str, kind: type[Rule]) -> str:
    """Return the section about a rule."""
    lines = ["", f"## {name}", "", inspect.getdoc(kind) or "", "", needed(kind().needs())]
    if kind.optional:
        lines.append("It runs only when selected by name: it needs a parameter, or data of its own.")
    if kind.also:
        lines.append(f"Other names: {', '.join(f'`{other}`' for other in kind.also)}.")
    if kind.explains:
        lines.append(f"Its findings explain those of {', '.join(kind.explains)}.")
    if kind.model_fields:
        lines += ["", "| parameter | default | range | unit | also | meaning |", "|---|---|---|---|---|---|"]
        lines += [row(parameter, info) for parameter, info in kind.model_fields.items()]
    if kind.unused:
        lines += ["", f"Accepted without effect: {', '.join(f'`{other}`' for other in kind.unused)}."]
    return "\n".join(lines) + "\n"


def needed(needs: Needs) -> str:
    """Return the data that must be saved, as a sentence."""
    where = "" if needs.mode == "train" else " of validation"
    what = f" with {' and '.join(needs.collections)}" if needs.collections else ""
    counted = _COUNTED[needs.counted]
    return f"Needs {needs.points} {counted if needs.points != 1 else counted.removesuffix('s')}{what}{where}."


def row(name: str, info: FieldInfo) -> str:
    """Return a parameter's line of the table."""
    default = "" if info.default in (None, (), "") else f"{info.default}"
    also = ", ".join(f"`{other}`" for other in aliases(info))
    description = escaped(info.description or "")
    return f"| `{name}` | {default} | {range_text(info)} | {unit(info)} | {also} | {description} |"


def escaped(text: str) -> str:
    """Return text that stays in its table cell."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
