"""Findings on paper: they come back equal, and read as sentences."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.finding import Finding, Points, Series, Severity, Verdict
from clearsight.debugger.report import finding_lines, findings_lines, read_findings, write_findings

FOUND = Finding(
    rule="LearningRateTooHigh",
    verdict=Verdict.FOUND,
    severity=Severity.SEVERE,
    value=12.5,
    threshold=1.8,
    steps=(3, 40),
    subject="loss",
    cause="the loss rose from 1.8 to 12.5",
    fix={"lr": 0.001, "class_weights": "balanced"},
    evidence=(Series.of("loss", range(1000), range(1000)),),
    group="LearningRateTooHigh",
)
LACKING = Finding(rule="Overfit", verdict=Verdict.NOT_ENOUGH_DATA, points=Points(1, 5, "evaluations"))


def test_they_come_back_equal(tmp_path: Path) -> None:
    write_findings(tmp_path / "findings.jsonl", [FOUND, LACKING])
    assert read_findings(tmp_path / "findings.jsonl") == [FOUND, LACKING]
    assert read_findings(tmp_path / "none.jsonl") == []


def test_evidence_is_thinned_but_keeps_its_ends() -> None:
    series = FOUND.evidence[0]
    assert len(series.values) == 200
    assert (series.steps[0], series.steps[-1]) == (0, 999)


def test_a_finding_reads_as_what_where_why_and_what_to_type() -> None:
    what, fix = finding_lines(FOUND)
    assert what == "severe   LearningRateTooHigh, loss, steps 3 to 40: the loss rose from 1.8 to 12.5"
    assert fix == "fix      --lr 0.001 --class-weights balanced"


def test_the_counts_tell_what_could_not_be_judged() -> None:
    assert findings_lines([FOUND, LACKING])[-1] == "rules    1 found, 1 not enough data"
