"""Predictions by epoch and by class."""

from __future__ import annotations

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.view import PredictionTable
from clearsight.debugger.analysis.predictions import (
    class_count,
    class_name,
    confusion_matrix,
    join_names,
    last_step,
    select_rows,
    training_steps,
    validation_predictions,
)
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import flat, prediction_record, tape


def with_predictions() -> Tape:
    """Return two epochs of two steps; in the second, two of the validation images are predicted twice."""
    saved = tape(loss=flat(1.0, 4), per_epoch=2)
    for epoch in (1, 2):
        saved.add(prediction_record([0, 1], [0, 0], indices=[0, 1], step=1, epoch=epoch, mode="eval"))
        saved.add(prediction_record([2], [2], indices=[2], step=2, epoch=epoch, mode="eval"))
    saved.add(prediction_record([0, 1], [2, 1], indices=[0, 1], step=3, epoch=2, mode="eval"))
    return saved


def test_the_last_evaluations_come_in_order_of_time() -> None:
    assert [set(table.epochs.tolist()) for table in validation_predictions(with_predictions(), 2)] == [{1}, {2}]
    assert [set(table.epochs.tolist()) for table in validation_predictions(with_predictions(), 1)] == [{2}]
    assert validation_predictions(Tape(), 3) == []


def test_each_image_counts_by_its_last_prediction() -> None:
    (last,) = validation_predictions(with_predictions(), 1)
    assert dict(zip(last.indices.tolist(), last.predictions.tolist(), strict=True)) == {0: 2, 1: 1, 2: 2}


def test_images_without_an_index_all_count() -> None:
    saved = Tape()
    for step in (1, 2):
        saved.add(prediction_record([0, 1], [0, 0], step=step, mode="eval"))
    (last,) = validation_predictions(saved, 1)
    assert len(last) == 4


def test_the_confusion_matrix_has_labels_in_rows() -> None:
    table = with_predictions().predictions("eval")
    assert confusion_matrix(table, 3).tolist() == [[2, 0, 1], [2, 1, 0], [0, 0, 2]]
    assert confusion_matrix(Tape().predictions(), 2).tolist() == [[0, 0], [0, 0]]


def test_classes_are_as_many_as_are_named_and_no_fewer_than_occur() -> None:
    table = with_predictions().predictions("eval")
    assert class_count(RunContext(), table) == 3
    assert class_count(RunContext(classes=tuple("abcde")), table) == 5
    assert class_count(RunContext(class_counts=(3, 3))) == 2
    assert class_count(RunContext()) == 0


def test_a_class_without_a_name_has_its_index() -> None:
    assert class_name(RunContext(classes=("cat",)), 0) == "cat"
    assert class_name(RunContext(classes=("cat",)), 3) == "class 3"


def test_an_epoch_ends_with_its_last_step() -> None:
    saved = with_predictions()
    assert [last_step(saved, epoch) for epoch in (0, 1, 2, 9)] == [0, 2, 4, 4]
    assert last_step(Tape(), 1) == 0


def test_without_a_loss_the_predictions_have_the_steps() -> None:
    saved = Tape()
    saved.add(prediction_record([0], [0], step=7, epoch=2))
    steps, epochs = training_steps(saved)
    assert (steps.tolist(), epochs.tolist()) == ([7], [2])


def test_rows_can_be_selected() -> None:
    table = with_predictions().predictions("eval")
    picked = select_rows(table, table.labels == 1)
    assert isinstance(picked, PredictionTable)
    assert picked.labels.tolist() == [1] * 3
    assert len(select_rows(table, np.array([], int))) == 0


def test_names_in_a_row() -> None:
    assert [join_names(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
