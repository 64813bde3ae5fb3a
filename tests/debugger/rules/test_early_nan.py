"""EarlyNaN says at which step and where the first value became NaN or infinite."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.judge import judge, root_findings
from clearsight.core.tensors import Event, Moment
from clearsight.debugger.rules.early_nan import EarlyNaN
from clearsight.debugger.rules.exploding_tensor import ExplodingTensor
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, noisy, tape
from tests.debugger.rules.nets import facts, weights

NAN = float("nan")


def rule() -> EarlyNaN:
    return EarlyNaN()


def broken(place: str = "loss", subject: str = "loss", *, loss: list[float] | None = None, **settings: str) -> Tape:
    values = loss or [*noisy(falling(2.3, 1.5, 20)), *[NAN] * 10]
    saved = tape(loss=values, lr=flat(1e-3, len(values)), context=facts(settings=settings))
    saved.add(Event(Moment("train", 21, 3, 21), "nonfinite", subject, {"where": place}))
    return saved


def fault() -> Tape:
    return broken()


def control() -> Tape:
    return tape(loss=noisy(falling(2.3, 0.4, 40)), grad_norm=noisy(flat(1.5, 40)), context=facts())


def only(saved: Tape) -> Finding:
    [finding] = rule().check(saved)
    return finding


def test_found_at_its_step_and_place() -> None:
    finding = only(fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.SEVERE
    assert finding.steps == (21, 30)
    assert finding.subject == "loss"
    assert "log_softmax" in finding.advice
    assert not finding.fix


def test_clear_where_all_values_are_finite() -> None:
    assert only(control()).verdict is Verdict.CLEAR


def test_bad_images_are_named() -> None:
    finding = only(broken("input", "input"))
    assert "images" in finding.advice
    assert not finding.fix


def test_a_layer_is_named() -> None:
    finding = only(broken("layer", "layer4.0.bn1"))
    assert finding.subject == "layer4.0.bn1"
    assert "layer4.0.bn1" in finding.cause
    assert finding.fix == {"lr": 1e-4, "clip_grad": 1.0}


def test_half_precision_is_changed_for_single() -> None:
    assert only(broken("layer", "fc", precision="fp16")).fix == {"precision": "fp32"}


def test_a_run_that_diverged_gets_a_lower_learning_rate() -> None:
    finding = only(broken(loss=[*np.geomspace(2.3, 400, 20), *[NAN] * 10]))
    assert finding.fix == {"lr": 1e-4, "clip_grad": 1.0}
    assert "risen" in finding.cause


def test_growth_by_orders_of_magnitude_has_its_own_rule_as_the_cause() -> None:
    loss = [*flat(2.3, 20), NAN]
    saved = tape(loss=loss, grad_norm=[*flat(1.0, 16), *np.geomspace(10, 1e6, 4), NAN], context=facts())
    assert only(saved).because == ("ExplodingTensor",)


def test_without_an_event_the_step_is_that_of_the_loss() -> None:
    finding = only(tape(loss=[2.3, 2.2, 2.1, float("inf"), NAN, NAN], context=facts()))
    assert finding.verdict is Verdict.FOUND
    assert finding.steps == (4, 6)


def test_statistics_identify_the_layer() -> None:
    activations = {"activation/conv2": {"nan": [0, 0, 3.0, 3.0]}, "activation/conv1": {"nan": 0}}
    finding = only(tape(loss=[*flat(2.3, 10), *[NAN] * 5], statistics={"activations": activations}, every=5))
    assert finding.subject == "activation/conv2"
    assert finding.steps == (10, 15)


def test_weights_that_are_broken_from_the_start() -> None:
    statistics = {"weights": weights(conv1={"nan": [1.0]})}
    finding = only(tape(loss=[NAN] * 3, statistics=statistics, context=facts()))
    assert finding.subject == "conv1.weight"
    assert not finding.fix


@pytest.mark.parametrize("bad", [NAN, float("inf")])
def test_steps_that_a_gradient_scaler_skips_are_healthy(bad: float) -> None:
    norm = [bad, bad, *flat(1.0, 30), bad, 1.0]
    assert only(tape(loss=noisy(falling(2.3, 1.0, 34)), grad_norm=norm)).verdict is Verdict.CLEAR
    mid_run = tape(loss=noisy(falling(2.3, 1.0, 33)), grad_norm=norm[:33], ended=False)
    assert only(mid_run).verdict is Verdict.CLEAR


def test_losses_that_recover_are_a_warning() -> None:
    finding = only(tape(loss=[2.3, 2.2, NAN, *noisy(falling(2.2, 1.0, 20))]))
    assert finding.severity is Severity.WARNING
    assert "finite again" in finding.cause


def test_a_finding_goes_through_json() -> None:
    finding = only(tape(loss=[2.0, 2.0, NAN]))
    assert Finding.from_json(json.loads(json.dumps(finding.to_json()))) == finding


def test_says_how_much_is_missing() -> None:
    assert only(Tape()).verdict is Verdict.NOT_ENOUGH_DATA


def test_a_very_long_broken_run_is_judged_quickly() -> None:
    saved = tape(
        loss=np.r_[flat(2.3, 100), np.full(20_000, NAN)], grad_norm=np.r_[flat(1.0, 100), np.full(20_000, NAN)]
    )
    assert only(saved).steps == (100 + 1, 20_100)


def test_it_and_exploding_tensor_agree_on_which_came_first() -> None:
    rules = [EarlyNaN(), ExplodingTensor()]
    grown = tape(loss=[*flat(2.0, 20), NAN], grad_norm=[*flat(1.0, 17), 1e5, 1e6, 1e7, NAN])
    assert [finding.rule for finding in root_findings(judge(rules, grown))] == ["ExplodingTensor"]
    assert [finding.rule for finding in root_findings(judge(rules, fault()))] == ["EarlyNaN"]
