"""Finding: the verdict of a rule on a run, with its evidence; written to findings.jsonl and shown as lines.

A finding is returned, never raised. A rule that lacks data says so instead of returning nothing.
"""

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
from clearsight.core.records import read_record

_EVIDENCE = 200  # points of a series: enough for a chart, small enough for thousands of findings


class Verdict(StrEnum):
    """found: it happens.  clear: the rule had its data and found nothing.  not-enough-data: it cannot tell."""

    FOUND = "found"
    CLEAR = "clear"
    NOT_ENOUGH_DATA = "not-enough-data"


class Severity(StrEnum):
    """severe: the result is worthless or lost.  warning: it costs accuracy or time.  info: worth knowing."""

    SEVERE = "severe"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """Return 0 for the most urgent."""
        return list(Severity).index(self)  # members are declared from the most urgent on


@dataclass(frozen=True, slots=True)
class Points:
    """Number of data points that a rule had and that it needs; `of` names them ("training steps")."""

    have: int  # these names are keys of findings.jsonl
    want: int
    of: str = "points"


@dataclass(frozen=True, slots=True)
class Series:
    """Evidence of a verdict: values over steps, at most 200 points, the first and last always among them."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]

    @classmethod
    def of(cls, name: str, steps: npt.ArrayLike, values: npt.ArrayLike) -> Series:
        """Return the series, thinned evenly to 200 points. steps, values: (S,) each."""
        x, y = np.asarray(steps), np.asarray(values, dtype=float)
        if not len(x):
            return cls(name, (), ())
        # Unique: rounding may repeat a place.
        keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), _EVIDENCE)).round().astype(int))
        return cls(name, tuple(int(v) for v in x[keep]), tuple(float(v) for v in y[keep]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """End of a finding that was shown while the run went on.

    step: training step after which its rule no longer found it.  shown: the one after which it was shown.  cause: what
    was shown.  why: what the rule measures now, a clause.
    """

    step: int
    shown: int
    cause: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One verdict of one rule.

    value, threshold: the measurement and the limit it was compared with, in `unit`.  steps: first and last training
    step concerned.  epoch: where it began, if that says more.  subject: the tensor, layer or class.
    cause: one sentence in plain words.  fix: recipe fields and their new values, e.g. {"lr": 1e-3}.  advice: one
    sentence on what no recipe field can change.  confidence: in [0, 1].  group: the rule that is the root cause.
    because: rules that are the cause of this finding on this run if they found something; the rules that are always
    a cause name it in their `explains`.  resolved: of a verdict that is not found, what was shown of the rule before.
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
    resolved: Resolution | None = None

    @property
    def found(self) -> bool:
        return self.verdict is Verdict.FOUND

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str = "finding") -> Finding:
        """Return the finding that `to_json` wrote; raises BadData on `source` for values of another form."""
        return read_record(cls, values, source)


def flags(fix: Mapping[str, Any]) -> str:
    """Return a fix as it is typed: `--lr 0.001 --class-weights balanced`."""
    return " ".join(_flag(name.replace("_", "-"), value) for name, value in fix.items())


def _flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"  # as Typer spells flags that are on or off
    parts = value if isinstance(value, (tuple, list)) else [value]
    return f"--{name} {','.join(f'{part:.3g}' if isinstance(part, float) else str(part) for part in parts)}"


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """Write every verdict with its evidence, one a line, in the order in which to read them."""
    write_text(path, "".join(json.dumps(finding.to_json()) + "\n" for finding in findings))


def read_findings(path: Path) -> list[Finding]:
    """Return what `write_findings` wrote; nothing where the file is missing."""
    return [Finding.from_json(line, str(path)) for line in read_jsonl(path)]


def findings_lines(findings: Sequence[Finding]) -> list[str]:
    """Return lines on what was found, root causes first, and how many rules were clear or lacked data."""
    told = [finding for finding in findings if finding.found or finding.resolved]
    lines = [line for finding in told for line in finding_lines(finding)]
    return [*lines, verdict_counts(findings)]


def verdict_counts(findings: Sequence[Finding]) -> str:
    """Return a line on how many rules found something, were clear, or lacked data."""
    rules = {finding.rule: finding.verdict for finding in reversed(findings)}  # the first of a rule, the worst, wins
    number = Counter(rules.values())
    parts = [f"{number[verdict]} {verdict.value.replace('-', ' ')}" for verdict in Verdict if number[verdict]]
    return f"rules    {', '.join(parts) or 'none were asked'}"


def finding_lines(finding: Finding) -> list[str]:
    """Return the lines of one finding: severity, place, cause, fix. Consequences are indented below their root.

    A verdict with a Resolution has one line, on what was shown before.
    """
    if finding.resolved is not None:
        return [f"resolved {finding.rule} at step {finding.resolved.step}: {finding.resolved.why}"]
    indent = "" if finding.group in ("", finding.rule) else "  "
    subject = f", {finding.subject}" if finding.subject else ""
    steps = "" if finding.steps is None else f", steps {finding.steps[0]} to {finding.steps[1]}"
    lines = [f"{indent}{finding.severity.value:<8} {finding.rule}{subject}{steps}: {finding.cause}"]
    if finding.fix:
        lines.append(f"{indent}fix      {flags(finding.fix)}")
    if finding.advice:
        lines.append(f"{indent}advice   {finding.advice}")
    return lines
