"""SaturatedActivation finds sigmoids and tanhs at their ends, where they are the network's activations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clearsight.core.context import LayerInfo, RunContext
from clearsight.core.finding import Finding, Verdict
from clearsight.debugger.rules.saturated_activation import SaturatedActivation
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import flat, noisy, tape
from tests.debugger.rules.nets import facts

RANKS = {"q01": 0.01, "q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95, "q99": 0.99}


def rule() -> SaturatedActivation:
    return SaturatedActivation()


def outputs(spread: np.ndarray, kind: str) -> dict[str, np.ndarray]:
    """Return quantiles of outputs whose inputs are spread evenly over -spread to spread."""
    inputs = {name: spread * (2 * rank - 1) for name, rank in RANKS.items()}
    squash = np.tanh if kind == "tanh" else lambda x: 1 / (1 + np.exp(-x))
    return {name: squash(x) for name, x in inputs.items()}


def run(spread: object, *, kind: str = "sigmoid", layer: str = "act2", known: RunContext | None = None) -> Tape:
    level = np.broadcast_to(np.asarray(spread, float), 8)
    layers = {f"activation/act{i}": outputs(flat(1.5, 8), kind) for i in range(1, 7)}
    layers[f"activation/{layer}"] = outputs(level, kind)
    return tape(
        loss=noisy(flat(2.3, 40)), statistics={"activations": layers}, every=5, context=known or facts(act=kind)
    )


def fault() -> Tape:
    return run(50.0)


def control() -> Tape:
    return run(5.0)


def only(saved: Tape, **parameters: object) -> Finding:
    [finding] = SaturatedActivation.parse(parameters).check(saved)
    return finding


@pytest.mark.parametrize("kind", ["sigmoid", "tanh"])
def test_found_when_most_outputs_lie_at_the_ends(kind: str) -> None:
    finding = only(run(50.0, kind=kind))
    assert finding.verdict is Verdict.FOUND
    assert finding.subject == "act2"
    assert finding.steps == (1, 35)
    assert "ReLU" in finding.advice


def test_clear_in_the_middle() -> None:
    assert only(control()).verdict is Verdict.CLEAR
    assert only(run(2.0, kind="tanh")).verdict is Verdict.CLEAR


def test_later_saturation_lowers_the_learning_rate() -> None:
    finding = only(run(np.r_[flat(1.0, 4), flat(60.0, 4)]))
    assert finding.steps == (20, 35)
    assert finding.fix == {"lr": 1e-4}


def test_one_odd_snapshot_changes_nothing() -> None:
    assert only(run(np.r_[flat(1.0, 7), 60.0])).verdict is Verdict.CLEAR


def test_gates_beside_other_activations_may_close() -> None:
    usual = facts(act="relu")
    known = replace(usual, layers=(LayerInfo(name="gate", kind="sigmoid", type="Sigmoid"), *usual.layers))
    saved = run(50.0, layer="gate", known=known)
    assert only(saved).verdict is Verdict.CLEAR
    assert only(saved, tensor_regex="sigmoid_output|gate").verdict is Verdict.FOUND


def test_the_last_layer_is_not_judged() -> None:
    layers = (
        LayerInfo(name="fc", kind="linear", type="Linear"),
        LayerInfo(name="act2", kind="sigmoid", type="Sigmoid"),
    )
    assert only(run(50.0, known=RunContext(layers=layers))).verdict is Verdict.CLEAR


def test_sagemakers_parameters_keep_their_meaning() -> None:
    far = {
        "tensor_regex": ".*tanh_input|.*sigmoid_input",
        "threshold_sigmoid_min": "-23",
        "threshold_sigmoid_max": "17",
    }
    assert only(run(15.0), **far).verdict is Verdict.CLEAR
    assert only(run(15.0)).verdict is Verdict.FOUND
    assert only(run(15.0), threshold_layer="90").verdict is Verdict.CLEAR


def test_nan_in_the_series_is_not_saturated() -> None:
    assert only(run(np.r_[flat(60.0, 6), np.nan, np.nan])).verdict is Verdict.CLEAR


def test_says_how_much_is_missing() -> None:
    assert only(tape(loss=[2.3] * 40, context=facts(act="tanh"))).verdict is Verdict.NOT_ENOUGH_DATA
    assert only(Tape()).verdict is Verdict.NOT_ENOUGH_DATA
