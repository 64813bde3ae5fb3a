from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clearsight.reports.kit.section import PageSection
from clearsight.reports.run.evaluation import MISTAKES_SHOWN, TYPICAL_SHOWN, evaluation, worst_classes
from clearsight.reports.run.report_data import RunReportData
from tests.reports.conftest import evaluated


def shown(report: RunReportData) -> PageSection:
    section = evaluation(report)
    assert section is not None
    return section


@pytest.fixture(scope="module")
def thousand() -> RunReportData:
    """A thousand classes, five images each; class 7 is always predicted as class 900."""
    rng = np.random.default_rng(0)
    matrix = np.eye(1000, dtype=int) * 5
    for row in rng.choice(1000, 200, replace=False):
        matrix[row, row] -= 1
        matrix[row, rng.integers(1000)] += 1
    matrix[7] = 0
    matrix[7, 900] = 5
    names = tuple(f"{'very ' * 6}long class name {i}" for i in range(1000))
    return RunReportData(name="r", status="completed", evaluation=evaluated(names, matrix, top5=0.97))


def test_without_an_evaluation_there_is_no_section() -> None:
    assert evaluation(RunReportData(name="r", status="completed")) is None


def test_scores_have_their_intervals(report: RunReportData) -> None:
    rows = {row[0]: row[1:3] for row in shown(report).values["scores"].rows}
    assert rows["Accuracy"] == ("89.2%", "84.6% to 92.5%")
    assert rows["Top-5 accuracy"] == ("100.0%", "98.4% to 100.0%")
    assert rows["Macro F1"][0] == "0.892"
    assert rows["Calibration error"] == ("3.1%", "–")


def test_top5_of_five_classes_is_left_out() -> None:
    five = evaluated(tuple("abcde"), np.eye(5, dtype=int) * 9)
    rows = shown(RunReportData(name="r", status="completed", evaluation=five)).values["scores"].rows
    assert "Top-5 accuracy" not in [row[0] for row in rows]


def test_two_classes_have_an_interval_of_their_roc_auc() -> None:
    two = evaluated(("0", "1"), [[100, 21], [20, 59]], roc_auc=0.837)
    rows = {
        row[0]: row[1:3]
        for row in shown(RunReportData(name="r", status="completed", evaluation=two)).values["scores"].rows
    }
    low, high = map(float, rows["ROC-AUC"][1].split(" to "))
    assert low < 0.837 < high < 0.92


def test_a_small_matrix_shares_a_row_and_a_large_one_does_not(report: RunReportData, thousand: RunReportData) -> None:
    assert [(p.key, p.wide) for p in shown(report).panels] == [
        ("confusion", False),
        ("reliability", False),
        ("classes", True),
    ]
    assert [(p.key, p.wide) for p in shown(thousand).panels] == [("confusion", True), ("classes", False)]


def test_confusions_are_listed_most_frequent_first(report: RunReportData) -> None:
    rows = shown(report).panels[0].table.rows
    assert rows[0] == ("glacier", "mountain", "7", "17.5%")
    assert len(rows) == 9  # the cells off the diagonal that are not zero


def test_of_a_thousand_classes_the_worst_thirty_are_drawn_and_all_are_in_the_table(thousand: RunReportData) -> None:
    section = shown(thousand)
    confusion, classes = section.panels
    assert len(confusion.figure.data[0].x) == len(classes.figure.data[0].y) == 30
    assert "30 of 1,000 classes" in confusion.note
    assert confusion.table.rows[0][2:] == ("5", "100.0%")
    assert len(section.values["classes"].rows) == 1000
    assert sum(len(panel.json) for panel in section.panels) < 400_000


def test_the_worst_classes_are_those_with_the_most_mistakes_in_class_order() -> None:
    matrix = np.array([[9, 0, 0, 0], [0, 2, 0, 7], [0, 0, 9, 0], [1, 0, 0, 8]])
    assert worst_classes(matrix, most=2) == [1, 3]
    assert worst_classes(matrix, most=9) == [0, 1, 2, 3]


def test_a_class_without_images_is_listed_without_a_score_of_its_own() -> None:
    section = shown(RunReportData(name="r", status="completed", evaluation=evaluated(("a", "b"), [[9, 1], [0, 0]])))
    assert section.panels[1].figure.layout.yaxis.ticktext == ("a",)
    assert section.values["classes"].rows[0][4] == "–"


def test_the_gallery_is_capped(report: RunReportData) -> None:
    many = replace(report, mistakes=list(report.mistakes) * 10)
    assert len(shown(many).values["mistakes"]) == MISTAKES_SHOWN
    assert shown(many).values["mistakes_left"] == len(many.mistakes) - MISTAKES_SHOWN


def test_typical_correct_predictions_are_capped_too(watched: RunReportData) -> None:
    typical = shown(replace(watched, typical=list(watched.typical) * 10)).values["typical"]
    assert len(typical) == TYPICAL_SHOWN
    assert all(image["true"] == image["predicted"] for image in typical)


def test_scores_and_classes_are_tables_of_the_section(report: RunReportData) -> None:
    assert [table.caption for table in shown(report).tables] == ["Scores", "Every class, lowest F1 first"]


def test_the_loss_as_served_stands_beside_that_without_calibration() -> None:
    scores = evaluated(("a", "b"), [[50, 4], [5, 41]])
    scores |= {"loss": 0.5, "loss_served": 0.4, "ece_uncalibrated": 0.09, "ece": 0.02, "temperature": 1.5}
    scores["calibration"] = {"images": 200, "errors": 31}
    rows = {
        row[0]: row
        for row in shown(RunReportData(name="r", status="completed", evaluation=scores)).values["scores"].rows
    }
    assert (rows["Loss as served"][1], rows["Loss without calibration"][1]) == ("0.400", "0.500")
    assert rows["Temperature"][1:] == ("1.500", "–", "temperature 1.5, from 200 validation images with 31 errors")
