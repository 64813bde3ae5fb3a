"""Findings: they order by how pressing they are, travel as JSON, and word their fix as it is typed."""

from __future__ import annotations

import json
import math

from clearsight.core.finding import Finding, Points, Series, Severity, Verdict, flags


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
