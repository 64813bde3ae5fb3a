"""Confusion: a class is predicted as another one, the other classes are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.rule import Rule
from clearsight.debugger.rules.confusion import Confusion
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import findings, only, verdict
from clearsight.testing.tapes import prediction_record

CLASSES = ("forest", "glacier", "mountain", "sea")
Shares = dict[tuple[int, int], float]


def run(*evaluations: Shares, images: int = 20, accuracy: float = 0.9, ended: bool = True) -> Tape:
    """Return a run with an evaluation per epoch. Shares: (class, predicted class) to the share of the class."""
    saved = Tape(RunContext(classes=CLASSES), ended=ended)
    for epoch, shares in enumerate(evaluations, start=1):
        step, count = 10 * epoch, len(CLASSES)
        labels = np.repeat(np.arange(count), images)
        predicted = labels.copy()
        for index in range(count):
            wrong = labels == index
            wrong[np.flatnonzero(wrong)[: round(accuracy * images)]] = False
            predicted[wrong] = (index + 1) % count
        for (index, other), share in shares.items():
            rows = np.flatnonzero(labels == index)
            predicted[rows] = index
            predicted[rows[: round(share * images)]] = other
        saved.add(prediction_record(labels[:20], labels[:20], step=step, epoch=epoch))
        saved.add(
            prediction_record(labels, predicted, indices=np.arange(len(labels)), step=step, epoch=epoch, mode="eval")
        )
    return saved


def rule() -> Rule:
    return Confusion()


def fault() -> Tape:
    return run(*[{(1, 2): 0.8}] * 4)


def control() -> Tape:
    return run(*[{(1, 2): 0.2, (2, 1): 0.15}] * 4)


def test_found_when_most_of_a_class_goes_to_another() -> None:
    found = only(rule(), fault())
    assert found.found
    assert found.severity == "warning"
    assert found.subject == "glacier as mountain"
    assert found.cause == "80% of the 20 validation images of glacier are predicted as mountain"
    assert found.steps == (30, 40)


def test_clear_when_a_sixth_of_similar_classes_swap() -> None:
    assert verdict(rule(), control()) == "clear"


def test_an_information_when_it_is_less_than_half() -> None:
    assert only(rule(), run(*[{(1, 2): 0.5}] * 4)).severity == "info"


def test_no_warning_while_the_run_goes_on() -> None:
    assert only(rule(), run(*[{(1, 2): 0.8}] * 4, ended=False)).severity == "info"


def test_found_when_a_class_is_never_predicted() -> None:
    scattered = run(*[{(1, 0): 1.0}] * 4, accuracy=1.0)
    assert "glacier is never predicted" in only(rule(), scattered).cause


def test_one_bad_evaluation_changes_nothing() -> None:
    assert verdict(rule(), run({}, {}, {}, {(1, 2): 0.8})) == "clear"


def test_few_images_prove_nothing() -> None:
    assert verdict(rule(), run(*[{(1, 2): 0.4}] * 4, images=10)) == "clear"
    assert verdict(rule(), run(*[{(1, 2): 1.0}] * 4, images=4)) == "clear"


def test_a_model_at_chance_level_confuses_no_pair() -> None:
    assert verdict(rule(), run(*[{(1, 2): 0.9}] * 4, accuracy=0.5)) == "clear"


def test_the_worst_comes_first() -> None:
    found_findings = findings(rule(), run(*[{(1, 2): 0.5, (3, 2): 0.6}] * 4, images=40, accuracy=1.0))
    assert [finding.subject for finding in found_findings] == ["sea as mountain", "glacier as mountain"]


def test_a_single_class_can_be_selected() -> None:
    assert verdict(Confusion(category_no=1), fault()) == "found"
    assert verdict(Confusion(category_no=3), fault()) == "clear"


@pytest.mark.parametrize("index", [4, 99])
def test_a_class_that_does_not_exist_is_never_confused(index: int) -> None:
    assert verdict(Confusion(category_no=index), fault()) == "clear"


def test_says_how_much_is_missing() -> None:
    points = only(rule(), run({}, ended=False)).points
    assert points is not None
    assert (points.have, points.want) == (1, 3)


def test_accepts_the_parameters_of_sagemaker() -> None:
    saved = Confusion.parse({"category_no": "1", "min_diag": "0.9", "max_off_diag": "0.1", "labels": "x"})
    assert saved == Confusion(category_no=1, min_diag=0.9, max_off_diag=0.1)
    assert verdict(saved, run(*[{(1, 2): 0.3}] * 4)) == "found"
