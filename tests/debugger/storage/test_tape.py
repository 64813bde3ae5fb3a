"""The tape: what was recorded is what a rule sees, up to any step."""

from __future__ import annotations

import numpy as np

from clearsight.core.tensors import STATISTICS, Event, Moment, RawTensor, Scalars, Snapshot
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import outcomes, tape


def test_scalars_are_a_curve_over_steps() -> None:
    curve = tape(loss=[3.0, 2.0, 1.0], per_epoch=2).scalar("loss")
    assert curve.steps.tolist() == [1, 2, 3]
    assert curve.epochs.tolist() == [1, 1, 2]
    assert curve.values.tolist() == [3.0, 2.0, 1.0]


def test_several_values_of_a_step_are_averaged() -> None:
    made = Tape()
    for step, value in ((1, 1.0), (1, 3.0), (2, 5.0)):
        made.add(Scalars(Moment("train", step, 1, step), {"loss": value}))
    curve = made.scalar("loss")
    assert (curve.steps.tolist(), curve.values.tolist()) == ([1, 2], [2.0, 5.0])


def test_what_is_not_there_is_empty() -> None:
    nothing = Tape()
    assert len(nothing.scalar("loss")) == len(nothing.outcomes()) == len(nothing.rounds()) == 0
    assert nothing.statistic("mean", "gradients").values.shape == (0, 0)
    assert nothing.raw("x") == nothing.events("phase") == []
    assert nothing.done() == 0


def test_rounds_set_training_beside_validation() -> None:
    rounds = tape(loss=[4.0, 2.0, 1.0, 1.0], valid={"loss": [3.0, 2.5]}, per_epoch=2).rounds()
    assert rounds.steps.tolist() == [2, 4]
    assert rounds.train_loss.tolist() == [3.0, 1.0]
    assert rounds.valid_loss.tolist() == [3.0, 2.5]
    assert np.isnan(rounds.valid_accuracy).all()


def test_rounds_of_a_foreign_loop_average_its_evaluation_steps() -> None:
    made = tape(loss=[4.0, 2.0])
    for step, loss in ((1, 1.0), (2, 2.0)):
        made.add(Scalars(Moment("eval", step, 1, 2), {"loss": loss}))
    assert made.rounds().valid_loss.tolist() == [1.5]


def test_statistics_are_a_table_with_gaps() -> None:
    made = tape(statistics={"gradients": {"gradient/a": {"mean": [1.0, 2.0]}}}, every=10)
    table = np.full((1, len(STATISTICS)), 7, np.float32)
    made.add(Snapshot(Moment("train", 20, 2, 20), ("gradient/b",), ("gradients",), table))
    found = made.statistic("mean", "gradients")
    assert found.names == ("gradient/a", "gradient/b")
    assert found.steps.tolist() == [1, 10, 20]
    np.testing.assert_array_equal(found.values, [[1, np.nan], [2, np.nan], [np.nan, 7]])


def test_outcomes_keep_their_batch() -> None:
    made = Tape(records=[outcomes([0, 1], [0, 0], step=1), outcomes([1], [1], step=2)])
    found = made.outcomes()
    assert found.batches.tolist() == [0, 0, 1]
    assert found.labels.tolist() == [0, 1, 1]
    assert found.predictions.tolist() == [0, 0, 1]


def test_until_is_the_tape_as_it_was() -> None:
    made = tape(loss=[3.0, 2.0, 1.0], valid={"loss": [1.0]}, per_epoch=2)
    made.add(Event(Moment("train", 3, 2, 3), "phase", "head", {}))
    made.add(RawTensor(Moment("train", 1, 1, 1), "x", "tensors", np.arange(3)))
    before = made.until(2)
    assert before.done() == 2
    assert len(before.rounds()) == 1
    assert before.events("phase") == []
    assert before.raw("x")[0][1].tolist() == [0, 1, 2]
    assert not before.ended
