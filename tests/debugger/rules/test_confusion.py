"""Confusion: a class goes to another, the rest is told apart."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.rule import Rule
from clearsight.debugger.rules.confusion import Confusion
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import findings, only, verdict
from clearsight.testing.tapes import outcomes

CLASSES = ("forest", "glacier", "mountain", "sea")
Shares = dict[tuple[int, int], float]


def run(*evaluations: Shares, images: int = 20, accuracy: float = 0.9, ended: bool = True) -> Tape:
    """A run with an evaluation per epoch. Shares: of a class (the first) that is answered as another (the second)."""
    made = Tape(RunContext(classes=CLASSES), ended=ended)
    for epoch, shares in enumerate(evaluations, start=1):
        step, count = 10 * epoch, len(CLASSES)
        labels = np.repeat(np.arange(count), images)
        said = labels.copy()
        for number in range(count):
            wrong = labels == number
            wrong[np.flatnonzero(wrong)[: round(accuracy * images)]] = False
            said[wrong] = (number + 1) % count
        for (number, other), share in shares.items():
            places = np.flatnonzero(labels == number)
            said[places] = number
            said[places[: round(share * images)]] = other
        made.add(outcomes(labels[:20], labels[:20], step=step, epoch=epoch))
        made.add(outcomes(labels, said, indices=np.arange(len(labels)), step=step, epoch=epoch, mode="eval"))
    return made


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
    assert found.cause == "80% of the 20 validation images of glacier are answered mountain"
    assert found.steps == (30, 40)


def test_clear_when_a_sixth_of_similar_classes_swap() -> None:
    assert verdict(rule(), control()) == "clear"


def test_worth_knowing_when_it_is_less_than_half() -> None:
    assert only(rule(), run(*[{(1, 2): 0.5}] * 4)).severity == "info"


def test_no_warning_while_the_run_goes_on() -> None:
    assert only(rule(), run(*[{(1, 2): 0.8}] * 4, ended=False)).severity == "info"


def test_found_when_a_class_is_never_answered() -> None:
    scattered = run(*[{(1, 0): 1.0}] * 4, accuracy=1.0)
    assert "glacier is never answered" in only(rule(), scattered).cause


def test_one_bad_evaluation_changes_nothing() -> None:
    assert verdict(rule(), run({}, {}, {}, {(1, 2): 0.8})) == "clear"


def test_few_images_prove_nothing() -> None:
    assert verdict(rule(), run(*[{(1, 2): 0.4}] * 4, images=10)) == "clear"
    assert verdict(rule(), run(*[{(1, 2): 1.0}] * 4, images=4)) == "clear"


def test_a_model_that_tells_nothing_apart_confuses_no_pair() -> None:
    assert verdict(rule(), run(*[{(1, 2): 0.9}] * 4, accuracy=0.5)) == "clear"


def test_the_worst_comes_first() -> None:
    told = findings(rule(), run(*[{(1, 2): 0.5, (3, 2): 0.6}] * 4, images=40, accuracy=1.0))
    assert [finding.subject for finding in told] == ["sea as mountain", "glacier as mountain"]


def test_one_class_alone_can_be_looked_at() -> None:
    assert verdict(Confusion(category_no=1), fault()) == "found"
    assert verdict(Confusion(category_no=3), fault()) == "clear"


@pytest.mark.parametrize("number", [4, 99])
def test_a_class_that_does_not_exist_is_never_confused(number: int) -> None:
    assert verdict(Confusion(category_no=number), fault()) == "clear"


def test_says_how_much_is_missing() -> None:
    points = only(rule(), run({}, ended=False)).points
    assert points is not None
    assert (points.have, points.want) == (1, 3)


def test_takes_the_parameters_of_sagemaker() -> None:
    made = Confusion.parse({"category_no": "1", "min_diag": "0.9", "max_off_diag": "0.1", "labels": "x"})
    assert made == Confusion(category_no=1, min_diag=0.9, max_off_diag=0.1)
    assert verdict(made, run(*[{(1, 2): 0.3}] * 4)) == "found"
