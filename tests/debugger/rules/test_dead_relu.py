"""DeadRelu finds layers whose outputs are all 0 and stay so."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.debugger.rules.dead_relu import DeadRelu
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import flat, noisy, tape
from tests.debugger.rules.nets import DEPTH, facts


def rule() -> DeadRelu:
    return DeadRelu()


def run(zeros: Mapping[str, object], *, points: int = 8, known: RunContext | None = None) -> Tape:
    usual = {f"act{i}": np.linspace(0.5, 0.9, points) for i in range(1, DEPTH + 1)}
    layers = {f"activation/{name}": {"zero_fraction": share} for name, share in {**usual, **zeros}.items()}
    steps = 5 * (points - 1) + 1
    return tape(
        loss=noisy(flat(2.3, steps)), statistics={"activations": layers}, every=5, context=known or facts(), ended=False
    )


def fault() -> Tape:
    return run({"act3": flat(1.0, 8)})


def control() -> Tape:
    return run({"act2": flat(0.97, 8)})


def only(saved: Tape, **parameters: object) -> Finding:
    [finding] = DeadRelu.parse(parameters).check(saved)
    return finding


def test_found_when_a_layer_is_dead_from_the_start() -> None:
    finding = only(fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.subject == "act3"
    assert finding.steps == (1, 35)
    assert finding.severity is Severity.WARNING
    assert finding.fix == {"weights": "default"}


def test_found_when_it_dies_later_because_of_the_learning_rate() -> None:
    finding = only(run({"act3": np.r_[flat(0.6, 4), flat(0.999, 4)]}))
    assert finding.steps == (20, 35)
    assert finding.fix == {"lr": 1e-4}


def test_severe_when_most_layers_are_dead() -> None:
    finding = only(run({f"act{i}": flat(1.0, 8) for i in range(1, 6)}))
    assert finding.severity is Severity.SEVERE
    assert "5 of 6" in finding.cause


def test_clear_on_sparse_layers() -> None:
    assert only(control()).verdict is Verdict.CLEAR


def test_a_layer_that_recovers_or_dies_for_one_batch_is_clear() -> None:
    assert only(run({"act3": np.r_[flat(1.0, 6), flat(0.8, 2)]})).verdict is Verdict.CLEAR
    assert only(run({"act3": np.r_[flat(0.8, 7), 1.0]})).verdict is Verdict.CLEAR


def test_the_second_call_of_a_shared_relu_counts_for_itself() -> None:
    assert only(run({"act3:1": flat(1.0, 8)})).subject == "act3"


def test_other_layers_may_be_all_zero() -> None:
    assert only(run({"conv3": flat(1.0, 8)})).verdict is Verdict.CLEAR
    assert only(run({}, known=facts(act="sigmoid"))).verdict is Verdict.CLEAR


def test_without_a_list_of_layers_relus_are_recognised_by_name() -> None:
    assert only(run({"block.relu1": flat(1.0, 8)}, known=RunContext())).verdict is Verdict.FOUND


@pytest.mark.parametrize(("layer", "zeros", "verdict"), [("50", 0.994, "clear"), ("30", 0.994, "found")])
def test_sagemakers_parameters_keep_their_meaning(layer: str, zeros: float, verdict: str) -> None:
    saved = run({"act3": flat(zeros, 8)})
    parameters = {"tensor_regex": ".*relu_output", "threshold_inactivity": "1.0", "threshold_layer": layer}
    assert only(saved, **parameters).verdict == verdict
    assert only(saved, **{**parameters, "tensor_regex": "act2"}).verdict is Verdict.CLEAR


def test_nan_in_the_series_is_not_dead() -> None:
    zeros = flat(1.0, 8)
    zeros[-1] = np.nan
    assert only(run({"act3": zeros})).verdict is Verdict.CLEAR


def test_says_how_much_is_missing() -> None:
    finding = only(run({}, points=2))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (2, 3)
    assert only(tape(loss=[2.3] * 40, context=facts())).verdict is Verdict.NOT_ENOUGH_DATA
