"""Finding: the answer of a rule. Returned, never raised; silence about missing data is a lie."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.files import read_jsonl, write_text

_EVIDENCE = 200  # points of a series that are kept


class Verdict(StrEnum):
    """found: it happens. clear: looked, it does not. not-enough-data: cannot tell."""

    FOUND = "found"
    CLEAR = "clear"
    NOT_ENOUGH_DATA = "not-enough-data"


class Severity(StrEnum):
    """severe: the result is worthless or lost. warning: it costs accuracy or time. info: worth knowing."""

    SEVERE = "severe"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the most pressing."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Points:
    """How many data points a rule got and how many it needs; `of` says what they are of ("training steps")."""

    have: int
    want: int
    of: str = "points"


@dataclass(frozen=True, slots=True)
class Series:
    """The numbers behind a verdict: values over steps, at most 200 points, first and last always among them."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]

    @classmethod
    def of(cls, name: str, steps: npt.ArrayLike, values: npt.ArrayLike) -> Series:
        """A series thinned evenly to what is kept. steps, values: (S,) each."""
        x, y = np.asarray(steps), np.asarray(values, dtype=float)
        if not len(x):
            return cls(name, (), ())
        keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), _EVIDENCE)).round().astype(int))
        return cls(name, tuple(int(v) for v in x[keep]), tuple(float(v) for v in y[keep]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One verdict of one rule.

    value, threshold: what was measured and the border it was held against, in `unit`.  steps: first and last training
    step that it speaks of.  epoch: where it began, where that says more.  subject: the tensor, layer or class.
    cause: one sentence in plain words.  fix: recipe fields and their new values, e.g. {"lr": 1e-3}.  advice: one
    sentence for what no recipe field can change.  confidence: in [0, 1].  group: the rule that is the root cause.
    because: rules that, where they found something on this run, are the cause of this finding; beside what a rule
    always `explains`, for what depends on the run.
    """

    rule: str
    verdict: Verdict
    severity: Severity = Severity.WARNING
    value: float | None = None
    threshold: float | None = None
    unit: str = ""
    steps: tuple[int, int] | None = None
    epoch: int | None = None
    subject: str = ""
    cause: str = ""
    fix: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""
    evidence: tuple[Series, ...] = ()
    confidence: float = 1.0
    points: Points | None = None
    group: str = ""
    because: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether the rule found something."""
        return self.verdict is Verdict.FOUND

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Finding:
        """The finding that `to_json` gave."""
        told = dict(values)
        told["verdict"], told["severity"] = Verdict(told["verdict"]), Severity(told["severity"])
        told["steps"] = tuple(told["steps"]) if told.get("steps") else None
        told["because"] = tuple(told.get("because") or ())
        told["points"] = Points(**told["points"]) if told.get("points") else None
        told["evidence"] = tuple(
            Series(line["name"], tuple(line["steps"]), tuple(line["values"])) for line in told.get("evidence", ())
        )
        return cls(**told)


def flags(fix: Mapping[str, Any]) -> str:
    """A fix as it is typed: `--lr 0.001 --class-weights balanced`."""
    return " ".join(_flag(name.replace("_", "-"), value) for name, value in fix.items())


def _flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {_word(value)}"


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, (tuple, list)):
        return ",".join(_word(part) for part in value)
    return str(value)


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """Write every verdict with its evidence, a line each, in the order in which they should be read."""
    write_text(path, "".join(json.dumps(finding.to_json()) + "\n" for finding in findings))


def read_findings(path: Path) -> list[Finding]:
    """What `write_findings` wrote; nothing where the file is not there."""
    return [Finding.from_json(line) for line in read_jsonl(path)]


def findings_lines(findings: Sequence[Finding]) -> list[str]:
    """What was found, root causes first, and how many rules were clear or lacked data."""
    told = [line for finding in findings if finding.found for line in finding_lines(finding)]
    return [*told, verdict_counts(findings)]


def verdict_counts(findings: Sequence[Finding]) -> str:
    """How many rules found something, were clear, or lacked data."""
    rules = {finding.rule: finding.verdict for finding in reversed(findings)}
    number = Counter(rules.values())
    parts = [f"{number[verdict]} {verdict.value.replace('-', ' ')}" for verdict in Verdict if number[verdict]]
    return f"rules    {', '.join(parts) or 'none were asked'}"


def finding_lines(finding: Finding) -> list[str]:
    """One finding: what and how bad, where, why, what to change. Consequences are indented below their root."""
    indent = "" if finding.group in ("", finding.rule) else "  "
    where = f", {finding.subject}" if finding.subject else ""
    steps = "" if finding.steps is None else f", steps {finding.steps[0]} to {finding.steps[1]}"
    told = [f"{indent}{finding.severity.value:<8} {finding.rule}{where}{steps}: {finding.cause}"]
    if finding.fix:
        told.append(f"{indent}fix      {flags(finding.fix)}")
    if finding.advice:
        told.append(f"{indent}advice   {finding.advice}")
    return told
