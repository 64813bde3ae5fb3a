"""AllZero finds trained layers that have never taken part."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.finding import Finding, Verdict
from clearsight.debugger.rules.all_zero import AllZero
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, noisy, tape
from tests.debugger.rules.nets import CONVS, WEIGHTS, constant, facts, series, weights


def rule() -> AllZero:
    return AllZero()


def run(gradients: dict[str, object], *, points: int = 8, relu: float = 0.6, **more: object) -> Tape:
    levels = {name: flat(1e-3, points) for name in WEIGHTS} | gradients
    statistics = {
        "weights": weights(**more.pop("weights", {})),
        "gradients": series("gradient", levels, points),
        "activations": {"activation/act1": {"zero_fraction": relu}, "activation/norm1": {"zero_fraction": 0.0}},
    }
    return tape(loss=noisy(falling(2.3, 1.0, 40)), statistics=statistics, every=5, context=facts(**more))


def fault() -> Tape:
    return run({"conv2.weight": flat(0.0, 8)})


def control() -> Tape:
    return run({})


def first(saved: Tape, **parameters: object) -> Finding:
    return next(iter(AllZero.parse(parameters).check(saved)))


def test_found_when_a_layer_never_gets_a_gradient() -> None:
    finding = first(fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.subject == "gradient/conv2.weight"
    assert finding.steps == (1, 35)
    assert finding.advice


def test_found_when_weights_stay_0() -> None:
    assert first(run({}, weights={"conv4": constant(0.0)})).subject == "conv4.weight"


def test_clear_otherwise_and_relus_are_another_rules() -> None:
    assert first(control()).verdict is Verdict.CLEAR
    assert first(run({}, relu=1.0)).verdict is Verdict.CLEAR


def test_a_tensor_that_starts_at_0_and_moves_is_healthy() -> None:
    assert first(run({"conv2.weight": np.r_[0.0, 0.0, flat(1e-3, 6)]})).verdict is Verdict.CLEAR


def test_a_run_that_has_converged_is_healthy() -> None:
    late = {name: np.r_[flat(1e-3, 3), flat(0.0, 5)] for name in WEIGHTS}
    assert first(run(late)).verdict is Verdict.CLEAR


def test_frozen_weights_are_not_judged() -> None:
    assert first(run({}, weights={"conv4": constant(0.0)}, frozen=CONVS)).verdict is Verdict.CLEAR


def test_sagemakers_parameters_choose_the_judged_tensors() -> None:
    late = {"conv2.weight": np.r_[flat(1e-3, 3), flat(0.0, 5)]}
    assert first(run(late), tensor_regex="gradient/conv2").verdict is Verdict.FOUND
    assert first(run(late), tensor_regex="conv3").verdict is Verdict.CLEAR
    assert first(run({}, relu=1.0), collection_names="activations", threshold="100").subject == "activation/act1"


def test_nan_in_the_series_is_not_0() -> None:
    assert first(run({"conv2.weight": flat(np.nan, 8)})).verdict is Verdict.CLEAR


@pytest.mark.parametrize("points", [1, 2])
def test_says_how_much_is_missing(points: int) -> None:
    finding = first(run({}, points=points))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (points, 3)
    assert first(Tape()).verdict is Verdict.NOT_ENOUGH_DATA
