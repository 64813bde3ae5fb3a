"""Tape: rules see what was recorded, up to any step. Former names of a view still work."""

from __future__ import annotations

import numpy as np

from clearsight.core.context import RunContext
from clearsight.core.tensors import STATISTICS, Event, Moment, RawTensor, Scalars, Snapshot
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import prediction_record, tape


def test_scalars_are_a_curve_over_steps() -> None:
    curve = tape(loss=[3.0, 2.0, 1.0], per_epoch=2).scalar("loss")
    assert curve.steps.tolist() == [1, 2, 3]
    assert curve.epochs.tolist() == [1, 1, 2]
    assert curve.values.tolist() == [3.0, 2.0, 1.0]


def test_several_values_of_a_step_are_averaged() -> None:
    filled = Tape()
    for step, value in ((1, 1.0), (1, 3.0), (2, 5.0)):
        filled.add(Scalars(Moment("train", step, 1, step), {"loss": value}))
    curve = filled.scalar("loss")
    assert (curve.steps.tolist(), curve.values.tolist()) == ([1, 2], [2.0, 5.0])


def test_data_that_were_not_saved_are_empty() -> None:
    nothing = Tape()
    assert len(nothing.scalar("loss")) == len(nothing.predictions()) == len(nothing.evaluations()) == 0
    assert nothing.statistic("mean", "gradients").values.shape == (0, 0)
    assert nothing.raw("x") == nothing.events("phase") == []
    assert nothing.done() == 0


def test_evaluations_stand_beside_the_training_before_them() -> None:
    evaluations = tape(loss=[4.0, 2.0, 1.0, 1.0], valid={"loss": [3.0, 2.5]}, per_epoch=2).evaluations()
    assert evaluations.steps.tolist() == [2, 4]
    assert evaluations.train_loss.tolist() == [3.0, 1.0]
    assert evaluations.valid_loss.tolist() == [3.0, 2.5]
    assert np.isnan(evaluations.valid_accuracy).all()


def test_evaluations_of_an_external_loop_are_averaged_over_their_steps() -> None:
    filled = tape(loss=[4.0, 2.0])
    for step, loss in ((1, 1.0), (2, 2.0)):
        filled.add(Scalars(Moment("eval", step, 1, 2), {"loss": loss}))
    assert filled.evaluations().valid_loss.tolist() == [1.5]


def test_statistics_are_a_table_with_gaps() -> None:
    filled = tape(statistics={"gradients": {"gradient/a": {"mean": [1.0, 2.0]}}}, every=10)
    table = np.full((1, len(STATISTICS)), 7, np.float32)
    filled.add(Snapshot(Moment("train", 20, 2, 20), ("gradient/b",), ("gradients",), table))
    found = filled.statistic("mean", "gradients")
    assert found.names == ("gradient/a", "gradient/b")
    assert found.steps.tolist() == [1, 10, 20]
    np.testing.assert_array_equal(found.values, [[1, np.nan], [2, np.nan], [np.nan, 7]])


def test_predictions_know_their_batch() -> None:
    filled = Tape(records=[prediction_record([0, 1], [0, 0], step=1), prediction_record([1], [1], step=2)])
    found = filled.predictions()
    assert found.batches.tolist() == [0, 0, 1]
    assert found.labels.tolist() == [0, 1, 1]
    assert found.predictions.tolist() == [0, 0, 1]


def test_until_is_the_tape_as_it_was() -> None:
    filled = tape(loss=[3.0, 2.0, 1.0], valid={"loss": [1.0]}, per_epoch=2)
    filled.add(Event(Moment("train", 3, 2, 3), "phase", "head", {}))
    filled.add(RawTensor(Moment("train", 1, 1, 1), "x", "tensors", np.arange(3)))
    before = filled.until(2)
    assert before.done() == 2
    assert len(before.evaluations()) == 1
    assert before.events("phase") == []
    assert before.raw("x")[0][1].tolist() == [0, 1, 2]
    assert not before.ended


def test_former_names_of_a_view_still_work() -> None:
    filled = tape(loss=[4.0, 2.0], valid={"loss": [3.0]}, per_epoch=2, context=RunContext(lr=0.1))
    filled.add(prediction_record([0, 1], [0, 0], step=1))
    filled.add(Event(Moment("train", 1, 1, 1), "nonfinite", "fc", {"where": "layer"}))
    assert filled.facts is filled.context
    assert filled.rounds().valid_loss.tolist() == filled.evaluations().valid_loss.tolist() == [3.0]
    assert filled.outcomes().labels.tolist() == filled.predictions().labels.tolist() == [0, 1]
    assert filled.events("nonfinite")[0].facts == {"where": "layer"}
