from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from clearsight.reports.run.remarks import CHECKS, remarks
from clearsight.reports.run.report_data import RunReportData
from tests.reports.conftest import SCENES, evaluated
from tests.reports.watched import clear, found


@pytest.fixture
def clean(report: RunReportData) -> RunReportData:
    """A run without problems."""
    return replace(report, evaluation=evaluated(SCENES, np.eye(6, dtype=int) * 39 + np.eye(6, k=1, dtype=int)))


def test_a_clean_run_has_no_remark_and_lists_the_checks(clean: RunReportData) -> None:
    assert remarks(clean)[0] == []
    assert remarks(clean)[1] == [name for name, *_ in CHECKS]


def test_a_check_without_data_is_not_clear() -> None:
    assert remarks(RunReportData(name="r", status="running"))[1] == []


def overfit(run: RunReportData) -> RunReportData:
    epochs = [{**epoch, "train": {"accuracy": 0.99}, "valid": {"accuracy": 0.7}} for epoch in run.epochs]
    return replace(run, epochs=epochs)


def no_better_than_largest_class(run: RunReportData) -> RunReportData:
    return replace(run, evaluation=evaluated(("a", "b"), [[60, 30], [25, 5]]))


def leaking(run: RunReportData) -> RunReportData:
    return replace(run, notices=[{"code": "leak", "text": "3 images occur twice."}])


def missing_a_class(run: RunReportData) -> RunReportData:
    matrix = np.eye(6, dtype=int) * 40
    matrix[2] = [8, 8, 0, 8, 8, 8]
    return replace(run, evaluation=evaluated(SCENES, matrix))


def confusing(run: RunReportData) -> RunReportData:
    matrix = np.eye(6, dtype=int) * 40
    matrix[2, 2], matrix[2, 3] = 33, 7
    return replace(run, evaluation=evaluated(SCENES, matrix))


def overconfident(run: RunReportData) -> RunReportData:
    bins = [{"confidence": 0.95, "accuracy": 0.8, "count": 240}]
    return replace(run, evaluation={**(run.evaluation or {}), "ece": 0.15}, reliability=bins)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (
            no_better_than_largest_class,
            "It is not clearly better than always predicting a, which would be correct for 75.0% of the images.",
        ),
        (leaking, "3 images occur twice."),
        (missing_a_class, "It recognises no image of 1 of 6 classes: glacier."),
        (overfit, "It overfits: the accuracy is 99.0% on the training images and 70.0% on the validation split."),
        (confusing, "The most frequent confusion: glacier is predicted as mountain for 7 of 40 images (17.5%)."),
        (
            overconfident,
            "It is overconfident: confidence and accuracy differ by 15.0 percentage points on average.",
        ),
    ],
)
def test_each_problem_gives_the_first_remark(
    clean: RunReportData, spoil: Callable[[RunReportData], RunReportData], text: str
) -> None:
    assert remarks(spoil(clean))[0][0].startswith(text)


def test_an_underconfident_model_is_not_called_overconfident(clean: RunReportData) -> None:
    underconfident = replace(overconfident(clean), reliability=[{"confidence": 0.6, "accuracy": 0.75, "count": 240}])
    assert "underconfident" in remarks(underconfident)[0][0]


def test_the_most_urgent_comes_first(clean: RunReportData) -> None:
    found = remarks(overconfident(overfit(leaking(clean))))[0]
    assert [text.split(":")[0] for text in found] == ["3 images occur twice.", "It overfits", "It is overconfident"]


def test_a_gap_that_may_be_chance_is_not_called_overfitting(clean: RunReportData) -> None:
    few = {**clean.data, "counts": {"valid": {"sea": 4}}}
    epochs = [{**epoch, "train": {"accuracy": 0.9}, "valid": {"accuracy": 0.75}} for epoch in clean.epochs]
    assert remarks(replace(clean, data=few, epochs=epochs))[0] == []


def test_of_many_missed_classes_five_are_named() -> None:
    names = tuple(f"c{i}" for i in range(12))
    matrix = np.zeros((12, 12), dtype=int)
    matrix[:, 0] = 50
    found = remarks(RunReportData(name="r", status="completed", evaluation=evaluated(names, matrix)))[0]
    assert "It recognises no image of 11 of 12 classes: c1, c2, c3, c4, c5 and 6 more." in found


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (no_better_than_largest_class, "NotLearning"),
        (leaking, "DataLeak"),
        (overfit, "Overfit"),
        (confusing, "Confusion"),
    ],
)
def test_a_problem_that_a_rule_has_found_gives_no_remark(
    clean: RunReportData, spoil: Callable[[RunReportData], RunReportData], rule: str
) -> None:
    spoilt = spoil(clean)
    assert len(remarks(replace(spoilt, findings=[found(rule)]))[0]) == len(remarks(spoilt)[0]) - 1
    assert remarks(replace(spoilt, findings=[clear(rule)])) == remarks(spoilt)
