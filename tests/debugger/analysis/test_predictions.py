"""Answers: what a model said, by epoch and by class."""

from __future__ import annotations

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.view import PredictionTable
from clearsight.debugger.analysis.predictions import (
    class_name,
    classes,
    confusion,
    join_names,
    last_step,
    pick,
    training_steps,
    validation_predictions,
)
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import flat, outcomes, tape


def answered() -> Tape:
    """Two epochs of two steps; in the second, two of the validation images are answered again."""
    made = tape(loss=flat(1.0, 4), per_epoch=2)
    for epoch in (1, 2):
        made.add(outcomes([0, 1], [0, 0], indices=[0, 1], step=1, epoch=epoch, mode="eval"))
        made.add(outcomes([2], [2], indices=[2], step=2, epoch=epoch, mode="eval"))
    made.add(outcomes([0, 1], [2, 1], indices=[0, 1], step=3, epoch=2, mode="eval"))
    return made


def test_the_last_evaluations_come_in_order_of_time() -> None:
    assert [set(one.epochs.tolist()) for one in validation_predictions(answered(), 2)] == [{1}, {2}]
    assert [set(one.epochs.tolist()) for one in validation_predictions(answered(), 1)] == [{2}]
    assert validation_predictions(Tape(), 3) == []


def test_each_image_counts_by_its_last_answer() -> None:
    (last,) = validation_predictions(answered(), 1)
    assert dict(zip(last.indices.tolist(), last.predictions.tolist(), strict=True)) == {0: 2, 1: 1, 2: 2}


def test_images_of_unknown_place_all_count() -> None:
    made = Tape()
    for step in (1, 2):
        made.add(outcomes([0, 1], [0, 0], step=step, mode="eval"))
    (last,) = validation_predictions(made, 1)
    assert len(last) == 4


def test_confusion_counts_labels_in_rows() -> None:
    table = answered().outcomes("eval")
    assert confusion(table, 3).tolist() == [[2, 0, 1], [2, 1, 0], [0, 0, 2]]
    assert confusion(Tape().outcomes(), 2).tolist() == [[0, 0], [0, 0]]


def test_classes_are_as_many_as_are_named_and_no_fewer_than_were_seen() -> None:
    table = answered().outcomes("eval")
    assert classes(RunContext(), table) == 3
    assert classes(RunContext(classes=tuple("abcde")), table) == 5
    assert classes(RunContext(class_counts=(3, 3))) == 2
    assert classes(RunContext()) == 0


def test_a_class_without_a_name_has_its_number() -> None:
    assert class_name(RunContext(classes=("cat",)), 0) == "cat"
    assert class_name(RunContext(classes=("cat",)), 3) == "class 3"


def test_an_epoch_ends_with_its_last_step() -> None:
    made = answered()
    assert [last_step(made, epoch) for epoch in (0, 1, 2, 9)] == [0, 2, 4, 4]
    assert last_step(Tape(), 1) == 0


def test_without_a_loss_the_answers_tell_the_steps() -> None:
    made = Tape()
    made.add(outcomes([0], [0], step=7, epoch=2))
    steps, epochs = training_steps(made)
    assert (steps.tolist(), epochs.tolist()) == ([7], [2])


def test_rows_can_be_picked() -> None:
    table = answered().outcomes("eval")
    picked = pick(table, table.labels == 1)
    assert isinstance(picked, PredictionTable)
    assert picked.labels.tolist() == [1] * 3
    assert len(pick(table, np.array([], int))) == 0


def test_names_in_a_row() -> None:
    assert [join_names(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
