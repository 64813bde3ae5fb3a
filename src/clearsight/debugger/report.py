"""Findings on paper: findings.jsonl, and the lines that a person reads at the end of a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from clearsight.core.files import write_text
from clearsight.core.finding import Finding, Verdict, flags
from clearsight.core.run import read_jsonl


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
