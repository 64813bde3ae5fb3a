"""Findings: they order by how pressing they are, travel as JSON, and word their fix as it is typed."""

from __future__ import annotations

import json
import math
from pathlib import Path

from clearsight.core.finding import (
    Finding,
    Points,
    Series,
    Severity,
    Verdict,
    finding_lines,
    findings_lines,
    flags,
    read_findings,
    write_findings,
)


def test_they_come_back_equal() -> None:
    finding = Finding(
        rule="Overfit",
        verdict=Verdict.FOUND,
        steps=(3, 9),
        fix={"mean": [0.5, 0.5, 0.5]},
        evidence=(Series("loss", (1, 2), (0.5, 0.25)),),
        points=Points(7, 49, "training steps"),
    )
    assert Finding.from_json(json.loads(json.dumps(finding.to_json()))) == finding


def test_severities_order() -> None:
    assert sorted(Severity, key=lambda severity: severity.rank) == ["severe", "warning", "info"]


def test_a_short_series_is_kept_whole_and_an_empty_one_is_empty() -> None:
    assert Series.of("loss", [1, 5], [0.1, math.inf]).values == (0.1, math.inf)
    assert Series.of("loss", [], []).steps == ()


def test_a_fix_is_worded_as_it_is_typed() -> None:
    assert flags({"lr": 0.00123456, "class_weights": "balanced", "mean": [0.5, 0.25]}) == (
        "--lr 0.00123 --class-weights balanced --mean 0.5,0.25"
    )


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


def test_findings_of_a_run_come_back_equal(tmp_path: Path) -> None:
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
