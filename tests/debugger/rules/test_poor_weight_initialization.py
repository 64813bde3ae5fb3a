"""PoorWeightInitialization judges the first weights, and accepts those that healthy networks start with."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.tensors import Moment, RawTensor
from clearsight.debugger.rules.poor_weight_initialization import PoorWeightInitialization
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, noisy, tape
from tests.debugger.rules.nets import CONVS, constant, facts, weights


def rule() -> PoorWeightInitialization:
    return PoorWeightInitialization()


def run(tensors: dict[str, dict[str, object]], *, loss: float = 2.3, wide: float = 2.0, **more: object) -> Tape:
    saved = tape(
        loss=np.r_[loss, noisy(falling(2.3, 1.0, 39))], statistics={"weights": tensors}, every=5, context=facts(**more)
    )
    at = Moment("train", 1, 1, 1)
    saved.add(RawTensor(at, "output_range", "outputs", np.array([-wide / 2, wide / 2, 0.0, 1.0])))
    return saved


def fault() -> Tape:
    return run(weights(**{name.split(".")[0]: constant(0.0) for name in CONVS}))


def control() -> Tape:
    return run(weights(0.41, fc=constant(0.0)))


def only(saved: Tape, **parameters: object) -> Finding:
    [finding] = PoorWeightInitialization.parse(parameters).check(saved)
    return finding


def test_found_when_hidden_layers_are_0() -> None:
    finding = only(fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.SEVERE
    assert finding.subject == "conv1.weight"
    assert finding.fix == {"weights": "default"}
    assert "6 of 6" in finding.cause


def test_any_constant_is_as_bad_as_0() -> None:
    assert only(run(weights(**{name.split(".")[0]: constant(0.01) for name in CONVS}))).verdict is Verdict.FOUND


@pytest.mark.parametrize("gain", [0.41, 1.0, 2.4])
def test_clear_on_ordinary_initialisations_with_a_head_at_0(gain: float) -> None:
    assert only(run(weights(gain, fc=constant(0.0)))).verdict is Verdict.CLEAR


def test_single_layers_may_start_at_0_behind_a_shortcut() -> None:
    assert only(run(weights(conv2=constant(0.0), conv4=constant(0.0)))).verdict is Verdict.CLEAR


def test_found_when_weights_are_huge() -> None:
    finding = only(run(weights(12.0)))
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.WARNING
    assert finding.value == pytest.approx(12.0, rel=1e-5)


def test_a_first_loss_far_above_chance_level_lowers_the_threshold() -> None:
    finding = only(run(weights(4.0), loss=60.0, wide=200.0))
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.SEVERE
    assert only(run(weights(4.0))).verdict is Verdict.CLEAR
    assert only(run(weights(1.0), loss=60.0, wide=200.0)).verdict is Verdict.CLEAR


def test_images_that_were_not_normalised_are_not_the_weights_fault() -> None:
    saved = run(weights(4.0), loss=60.0, wide=200.0)
    saved.add(
        RawTensor(Moment("train", 1, 1, 1), "input_channels", "inputs", np.array([[120.0, 60.0, 0.0, 255.0]] * 3))
    )
    assert only(saved).verdict is Verdict.CLEAR


def test_found_when_weights_are_near_zero() -> None:
    assert only(run(weights(1e-5))).verdict is Verdict.FOUND


def test_pretrained_weights_may_have_other_sizes() -> None:
    assert only(run(weights(12.0), pretrained=True)).verdict is Verdict.CLEAR
    assert only(run(weights(1e-5), pretrained=True)).verdict is Verdict.CLEAR


def test_a_head_alone_is_not_judged() -> None:
    assert only(run(weights(fc=constant(0.0)), frozen=CONVS)).verdict is Verdict.CLEAR


def test_missing_statistics_are_not_zeros() -> None:
    assert only(run({name: {"l2": 1.0} for name in CONVS})).verdict is Verdict.CLEAR


def test_sagemakers_parameters_are_accepted() -> None:
    parameters = {"threshold": "20", "steps": "10", "patience": "5", "distribution_range": "0.001"}
    assert only(run(weights(12.0)), **parameters, activation_inputs_regex=".*relu_input").verdict is Verdict.CLEAR


def test_nan_in_the_statistics_decides_nothing() -> None:
    assert only(run(weights(conv1={"std": np.nan, "min": np.nan, "max": np.nan}))).verdict is Verdict.CLEAR


def test_says_how_much_is_missing() -> None:
    for saved in (Tape(), tape(loss=flat(2.3, 40), context=facts())):
        finding = only(saved)
        assert finding.verdict is Verdict.NOT_ENOUGH_DATA
        assert finding.points is not None
        assert (finding.points.have, finding.points.want) == (0, 1)
