"""`debug` replays rules on a saved run; `saved_series` lists its scalars and tensors."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from clearsight.core.errors import BadChoice, NotFound
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.workflow.debug import Diagnosis, debug, saved_series
from tests.debugger.conftest import LIVE, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    write_run(folder, LIVE)
    return folder


def test_the_named_rules_are_replayed(run: Path) -> None:
    diagnosis = debug(run, rules="none", rule=["Overfit(patience=3)", "DeadRelu"])
    assert {finding.rule for finding in diagnosis.findings} == {"Overfit", "DeadRelu"}
    assert diagnosis.points["loss"] == {"train": 6}
    assert diagnosis.points["a.weight"] == {"train": 3}


def test_without_a_profile_the_default_leaves_out_the_rules_about_speed(run: Path) -> None:
    rules = {finding.rule for finding in debug(run).findings}
    assert "LossNotDecreasing" in rules
    assert "DataWait" not in rules
    assert "DataWait" in {finding.rule for finding in debug(run, rule=["DataWait()"]).findings}
    assert "DataWait" in {finding.rule for finding in debug(run, rules="all").findings}


def test_a_folder_without_a_run_and_an_unknown_rule_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run in this folder"):
        debug(tmp_path)
    with pytest.raises(BadChoice, match="Did you mean Overfit"):
        debug(run, rules="Overfitt")


def test_json_has_null_for_numbers_that_are_not_finite() -> None:
    findings = [Finding(rule="EarlyNaN", verdict=Verdict.FOUND, value=value) for value in (math.nan, math.inf, 1.0)]
    values = json.loads(json.dumps(Diagnosis(findings=findings, points={}).to_json(), allow_nan=False))
    assert [finding["value"] for finding in values["findings"]] == [None, None, 1.0]


def test_at_least_selects_findings_by_severity() -> None:
    findings = [
        Finding(rule=severity, verdict=Verdict.FOUND, severity=severity)
        for severity in (Severity.INFO, Severity.WARNING, Severity.SEVERE)
    ]
    diagnosis = Diagnosis(findings=[*findings, Finding(rule="X", verdict=Verdict.CLEAR)], points={})
    assert [finding.severity for finding in diagnosis.at_least(Severity.WARNING)] == ["warning", "severe"]


def test_series_of_scalars_and_tensors(run: Path) -> None:
    (loss,) = saved_series(run, name="^loss$")
    assert (loss.statistic, loss.steps, loss.last()) == (None, [1, 2, 3, 4, 5, 6], pytest.approx(1 / 6))
    weights = saved_series(run, collection="weights", statistic="mean")
    assert [series.tensor.name for series in weights] == ["a.weight", "b.weight"]
    row = weights[0].to_json(series=True)
    assert (row["statistic"], row["points"], row["steps"]) == ("mean", 3, [2, 4, 6])
    assert row["values"][-1] == row["value"]
    assert "values" not in weights[0].to_json(series=False)


def test_series_of_one_mode(run: Path) -> None:
    assert [(series.tensor.name, series.mode) for series in saved_series(run, mode="eval")] == [("valid_loss", "eval")]
    with pytest.raises(BadChoice, match="evall"):
        saved_series(run, mode="evall")
