"""TensorVariance compares variances with given bounds."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.errors import BadValue
from clearsight.core.finding import Finding, Verdict
from clearsight.debugger.rules.tensor_variance import TensorVariance
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, noisy, tape
from tests.debugger.rules.nets import facts, series, weights


def rule() -> TensorVariance:
    return TensorVariance(max_threshold=4.0)


def run(std: object) -> Tape:
    statistics = {"weights": weights(conv3={"std": std}), "gradients": series("gradient", 1e-3, 8)}
    return tape(loss=noisy(falling(2.3, 1.0, 40)), context=facts(), statistics=statistics, every=5)


def fault() -> Tape:
    return run(np.r_[flat(0.1, 5), flat(3.0, 3)])


def control() -> Tape:
    return run(flat(0.1, 8))


def first(saved: Tape, **parameters: object) -> Finding:
    return next(iter(TensorVariance.parse(parameters).check(saved)))


def test_it_has_no_bounds_of_its_own() -> None:
    assert TensorVariance.optional
    finding = first(fault())
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert "max_threshold" in finding.cause


def test_found_above_and_below() -> None:
    finding = first(fault(), max_threshold="4")
    assert finding.verdict is Verdict.FOUND
    assert (finding.value, finding.steps, finding.subject) == (9.0, (25, 35), "conv3.weight")
    assert first(fault(), min_threshold="0.0001").subject.startswith("gradient/")


def test_clear_within() -> None:
    assert first(control(), max_threshold="4", min_threshold="0").verdict is Verdict.CLEAR


def test_sagemakers_parameters_choose_the_tensors() -> None:
    assert first(fault(), max_threshold="4", collection_names="gradients").verdict is Verdict.CLEAR
    assert first(fault(), max_threshold="4", tensor_regex="conv3").verdict is Verdict.FOUND
    with pytest.raises(BadValue):
        TensorVariance.parse({"max_threshold": "-1"})


def test_nan_in_the_series_is_outside_of_nothing() -> None:
    assert first(run(np.r_[0.1, np.nan, 0.1]), max_threshold="4").verdict is Verdict.CLEAR


def test_says_how_much_is_missing() -> None:
    assert first(Tape(), max_threshold="4").verdict is Verdict.NOT_ENOUGH_DATA
