"""Synthetic tapes contain the given values."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.testing.tapes import falling, flat, noisy, prediction_record, tape


def test_a_scalar_has_a_value_per_step() -> None:
    curve = tape(loss=[3.0, 2.0, 1.0], per_epoch=2).scalar("loss")
    assert curve.steps.tolist() == [1, 2, 3]
    assert curve.epochs.tolist() == [1, 1, 2]
    assert curve.values.tolist() == [3.0, 2.0, 1.0]


def test_scalars_may_end_at_different_steps() -> None:
    saved = tape(loss=[1.0] * 5, lr=[0.1] * 3)
    assert (len(saved.scalar("loss")), len(saved.scalar("lr"))) == (5, 3)
    assert saved.done() == 5


def test_validation_stands_at_the_end_of_each_epoch() -> None:
    rounds = tape(loss=flat(1.0, 20), valid={"loss": [0.9, 0.8], "accuracy": [0.5, 0.6]}).evaluations()
    assert rounds.steps.tolist() == [10, 20]
    assert rounds.valid_loss.tolist() == [0.9, 0.8]
    assert rounds.valid_accuracy.tolist() == [0.5, 0.6]
    assert rounds.train_loss.tolist() == [1.0, 1.0]


def test_statistics_are_saved_at_the_first_step_and_each_interval() -> None:
    saved = tape(statistics={"weights": {"fc.weight": {"l2": [1.0, 2.0, 3.0], "std": 0.5}}}, every=10)
    table = saved.statistic("l2", "weights")
    assert table.steps.tolist() == [1, 10, 20]
    assert table.values[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert saved.statistic("std", "weights").values[:, 0].tolist() == [0.5] * 3


def test_context_and_end_are_stored() -> None:
    saved = tape(context=RunContext(lr=0.1), ended=False)
    assert (saved.context.lr, saved.ended) == (0.1, False)


def test_a_wrong_prediction_leaves_the_label_a_tenth_of_the_rest() -> None:
    predicted = prediction_record([0, 1], [0, 0], confidence=0.8)
    assert predicted.true_probability.tolist() == pytest.approx([0.8, 0.02])
    assert predicted.indices.tolist() == [-1, -1]


def test_predictions_have_a_moment_and_a_mode() -> None:
    at = prediction_record([0], [0], step=7, epoch=2, mode="eval").at
    assert (at.mode, at.step, at.epoch, at.train_step) == ("eval", 7, 2, 7)


def test_curves_begin_and_end_where_they_say() -> None:
    assert flat(2.0, 3).tolist() == [2.0, 2.0, 2.0]
    curve = falling(2.3, 0.3, 50)
    assert curve[0] == pytest.approx(2.3)
    assert curve[-1] == pytest.approx(0.3, abs=0.05)
    assert (np.diff(curve) < 0).all()


def test_noise_is_the_same_every_time() -> None:
    curve = noisy(flat(1.0, 2000), share=0.1)
    assert curve.std() == pytest.approx(0.1, rel=0.1)
    assert (curve == noisy(flat(1.0, 2000), share=0.1)).all()
    assert (curve != noisy(flat(1.0, 2000), share=0.1, seed=1)).any()
