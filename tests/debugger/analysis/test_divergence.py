"""Divergence: growth that lasts, and the first value that is NaN or infinite."""

from __future__ import annotations

import numpy as np

from clearsight.core.tensors import Event, Moment
from clearsight.debugger.analysis.divergence import first_nonfinite, growing_tensors
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import flat, tape
from tests.debugger.rules.nets import facts, he, series, weights

NAN = float("nan")


def test_growth_begins_after_the_last_calm_value() -> None:
    [growth] = growing_tensors(
        tape(loss=flat(2.0, 20), grad_norm=[*flat(2.0, 12), 30, 60, 900, 9e3, 9e4, 9e4, 9e4, 9e4])
    )
    assert growth.steps == (13, 20)
    assert growth.early == 2.0
    assert growth.factor == 4.5e4


def test_the_largest_growth_comes_first() -> None:
    gradients = {"conv1.weight": np.r_[flat(0.01, 6), flat(1e3, 6)], "conv2.weight": np.r_[flat(0.01, 6), flat(1e5, 6)]}
    levels = {name: flat(0.01, 12) for name in weights()} | gradients
    saved = tape(loss=flat(2.0, 60), statistics={"gradients": series("gradient", levels, 12)}, every=5, context=facts())
    assert [growth.subject for growth in growing_tensors(saved)] == ["gradient/conv2.weight", "gradient/conv1.weight"]
    assert not growing_tensors(saved, lambda collection, name: collection == "weights")


def test_a_weight_is_compared_with_an_ordinary_initialisation() -> None:
    head = {"fc": {"std": np.r_[flat(1e-6, 6), flat(50 * he("fc.weight"), 6)]}}
    assert not growing_tensors(
        tape(loss=flat(2.0, 60), statistics={"weights": weights(**head)}, every=5, context=facts())
    )
    head = {"fc": {"std": np.r_[flat(1e-6, 6), flat(200 * he("fc.weight"), 6)]}}
    assert growing_tensors(tape(loss=flat(2.0, 60), statistics={"weights": weights(**head)}, every=5, context=facts()))


def test_within_a_step_the_first_computed_place_wins() -> None:
    saved = tape(loss=[2.0, NAN, NAN], grad_norm=[1.0, NAN, NAN])
    first = first_nonfinite(saved)
    assert first is not None
    assert (first.step, first.place, first.exact, first.recovered) == (2, "loss", False, False)
    saved.add(Event(Moment("train", 2, 1, 2), "nonfinite", "fc", {"where": "layer"}))
    first = first_nonfinite(saved)
    assert first is not None
    assert (first.place, first.subject, first.exact) == ("layer", "fc", True)


def test_a_gradient_counts_when_the_losses_stay_broken() -> None:
    first = first_nonfinite(tape(loss=[2.0, 2.0, NAN, NAN], grad_norm=[1.0, NAN, NAN, NAN]))
    assert first is not None
    assert (first.step, first.place) == (2, "gradient")
    assert first_nonfinite(tape(loss=[2.0, 2.0, 2.0], grad_norm=[1.0, NAN, 1.0])) is None


def test_the_newest_gradient_is_not_judged_yet() -> None:
    saved = tape(loss=[2.0, 2.0], grad_norm=[1.0, NAN], ended=False)
    assert first_nonfinite(saved) is None
    saved.ended = True
    assert first_nonfinite(saved) is not None


def test_an_empty_run_has_neither() -> None:
    assert growing_tensors(Tape()) == []
    assert first_nonfinite(Tape()) is None
