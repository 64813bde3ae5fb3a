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
def clean(facts: RunReportData) -> RunReportData:
    """A run in which nothing stands out."""
    return replace(facts, evaluation=evaluated(SCENES, np.eye(6, dtype=int) * 39 + np.eye(6, k=1, dtype=int)))


def test_a_clean_run_has_no_remark_and_says_what_was_looked_at(clean: RunReportData) -> None:
    assert remarks(clean).found == ()
    assert remarks(clean).clear == tuple(name for name, _ in CHECKS)


def test_missing_data_is_not_called_clear() -> None:
    assert remarks(RunReportData(name="r", status="running")).clear == ()


def overfit(run: RunReportData) -> RunReportData:
    epochs = [{**epoch, "train": {"accuracy": 0.99}, "valid": {"accuracy": 0.7}} for epoch in run.epochs]
    return replace(run, epochs=epochs)


def guessing(run: RunReportData) -> RunReportData:
    return replace(run, evaluation=evaluated(("a", "b"), [[60, 30], [25, 5]]))


def leaking(run: RunReportData) -> RunReportData:
    return replace(run, notices=[{"code": "leak", "text": "3 images occur twice."}])


def blind(run: RunReportData) -> RunReportData:
    matrix = np.eye(6, dtype=int) * 40
    matrix[2] = [8, 8, 0, 8, 8, 8]
    return replace(run, evaluation=evaluated(SCENES, matrix))


def confusing(run: RunReportData) -> RunReportData:
    matrix = np.eye(6, dtype=int) * 40
    matrix[2, 2], matrix[2, 3] = 33, 7
    return replace(run, evaluation=evaluated(SCENES, matrix))


def too_sure(run: RunReportData) -> RunReportData:
    bins = [{"confidence": 0.95, "accuracy": 0.8, "count": 240}]
    return replace(run, evaluation={**(run.evaluation or {}), "ece": 0.15}, reliability=bins)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (guessing, "It is not clearly better than always answering a, which would be right in 75.0% of the images."),
        (leaking, "3 images occur twice."),
        (blind, "It never recognises 1 of 6 classes: glacier."),
        (overfit, "It overfits: 99.0% right on the training images, 70.0% on the validation split;"),
        (confusing, "Its most common confusion is glacier taken for mountain: 7 of 40 images (17.5%)."),
        (
            too_sure,
            "It is surer of itself than it should be: confidence and accuracy differ by 15.0 points on average.",
        ),
    ],
)
def test_each_fault_is_the_first_thing_said(
    clean: RunReportData, spoil: Callable[[RunReportData], RunReportData], said: str
) -> None:
    assert remarks(spoil(clean)).found[0].startswith(said)


def test_an_unsure_model_is_told_apart_from_a_too_sure_one(clean: RunReportData) -> None:
    modest = replace(too_sure(clean), reliability=[{"confidence": 0.6, "accuracy": 0.75, "count": 240}])
    assert "less sure of itself than it could be" in remarks(modest).found[0]


def test_the_more_pressing_comes_first(clean: RunReportData) -> None:
    assert [text[:9] for text in remarks(too_sure(overfit(leaking(clean)))).found] == [
        "3 image",
        "It overfi",
        "It is sur",
    ]


def test_a_gap_that_so_few_images_cannot_show_is_not_called_overfitting(clean: RunReportData) -> None:
    few = {**clean.data, "counts": {"valid": {"sea": 4}}}
    epochs = [{**epoch, "train": {"accuracy": 0.9}, "valid": {"accuracy": 0.75}} for epoch in clean.epochs]
    assert remarks(replace(clean, data=few, epochs=epochs)).found == ()


def test_many_lost_classes_are_not_all_named() -> None:
    names = tuple(f"c{i}" for i in range(12))
    matrix = np.zeros((12, 12), dtype=int)
    matrix[:, 0] = 50
    found = remarks(RunReportData(name="r", status="completed", evaluation=evaluated(names, matrix))).found
    assert "It never recognises 11 of 12 classes: c1, c2, c3, c4, c5 and 6 more." in found


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [(guessing, "HeadNotLearning"), (leaking, "DataLeak"), (overfit, "Overfit"), (confusing, "Confusion")],
)
def test_what_a_rule_has_found_is_not_said_twice(
    clean: RunReportData, spoil: Callable[[RunReportData], RunReportData], rule: str
) -> None:
    spoilt = spoil(clean)
    assert len(remarks(replace(spoilt, findings=[found(rule)])).found) == len(remarks(spoilt).found) - 1
    assert remarks(replace(spoilt, findings=[clear(rule)])) == remarks(spoilt)
