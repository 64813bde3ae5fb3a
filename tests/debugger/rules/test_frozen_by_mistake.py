"""FrozenByMistake: a frozen backbone is intended, a frozen head is not."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.context import LayerInfo, ParameterInfo, RunContext
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.debugger.rules.frozen_by_mistake import FrozenByMistake
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, noisy, tape
from tests.debugger.rules.nets import CONVS, WEIGHTS, facts, series, weights

NORMS = tuple(f"norm{i}.weight" for i in range(1, 7))
BACKBONE = (*CONVS, *NORMS)
HEAD = ("fc.weight", "fc.bias")


def rule() -> FrozenByMistake:
    return FrozenByMistake()


def fault() -> Tape:
    return tape(loss=noisy(flat(2.3, 40)), lr=flat(1e-3, 40), context=facts(frozen=HEAD, settings={"freeze": "2"}))


def control() -> Tape:
    return tape(loss=noisy(falling(2.3, 0.4, 40)), lr=flat(1e-3, 40), context=facts(frozen=BACKBONE))


def only(saved: Tape) -> Finding:
    [finding] = rule().check(saved)
    return finding


def test_found_when_the_head_is_frozen() -> None:
    finding = only(fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.SEVERE
    assert finding.subject == "fc"
    assert finding.fix == {"freeze": "none"}
    assert finding.steps == (1, 40)


def test_found_when_the_optimizer_lacks_the_head() -> None:
    finding = only(tape(loss=[2.3], context=facts(unheld=HEAD, settings={})))
    assert finding.verdict is Verdict.FOUND
    assert "optimizer" in finding.cause
    assert not finding.fix


@pytest.mark.parametrize("untrained", [{"frozen": (*BACKBONE, *HEAD)}, {"unheld": (*BACKBONE, *HEAD)}])
def test_found_from_the_first_step_on_when_nothing_is_trained(untrained: dict[str, tuple[str, ...]]) -> None:
    finding = only(tape(loss=[2.3], context=facts(**untrained, settings={})))
    assert finding.verdict is Verdict.FOUND
    assert finding.steps == (1, 1)
    assert "nothing is trained" in finding.cause


def test_a_frozen_backbone_is_clear_in_part_or_whole() -> None:
    assert only(control()).verdict is Verdict.CLEAR
    assert only(tape(loss=[2.3], context=facts(frozen=CONVS[:3]))).verdict is Verdict.CLEAR
    assert only(tape(loss=[2.3], context=facts(frozen=BACKBONE, settings={}))).verdict is Verdict.CLEAR


def test_without_a_watched_optimizer_gradients_decide() -> None:
    assert only(tape(loss=[2.3], context=facts(unheld=WEIGHTS, optimizer="", settings={}))).verdict is Verdict.CLEAR


def test_a_middle_that_the_optimizer_lacks_is_found() -> None:
    finding = only(tape(loss=[2.3], context=facts(unheld=CONVS[2:4], settings={})))
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.WARNING
    assert finding.subject == CONVS[2]


def test_an_optimizer_of_the_head_alone_is_an_information() -> None:
    finding = only(tape(loss=[2.3], context=facts(unheld=BACKBONE, settings={})))
    assert finding.severity is Severity.INFO


def test_a_backbone_that_is_defined_after_the_head_is_no_head() -> None:
    layers = (LayerInfo(name="fc", kind="linear", type="Linear"), LayerInfo(name="back", kind="conv", type="Conv2d"))
    parameters = tuple(
        ParameterInfo(
            name=f"{layer}.weight", layer=layer, shape=shape, kind="weight", trainable=on, optimized=on, head=end
        )
        for layer, shape, on, end in (("fc", (5, 64), True, False), ("back", (64, 3, 3, 3), False, True))
    )
    for classes in ((), tuple("abcde")):
        saved = tape(
            loss=[1.6], context=RunContext(classes=classes, layers=layers, parameters=parameters, optimizer="SGD")
        )
        assert only(saved).verdict is Verdict.CLEAR


def resting(level: float, *, lr: float = 1e-3, gradient: float = 1e-3) -> Tape:
    statistics = {
        "weights": weights(),
        "gradients": series("gradient", gradient, 8),
        "updates": series("update", {name: level if name in CONVS else 0.0 for name in WEIGHTS}, 8),
    }
    return tape(loss=flat(2.3, 40), lr=flat(lr, 40), context=facts(settings={}), statistics=statistics, every=5)


def test_found_when_weights_get_a_gradient_and_never_change() -> None:
    finding = only(resting(0.0))
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.SEVERE
    assert finding.value == 1.0


def test_one_group_with_a_rate_of_0_is_found() -> None:
    finding = only(resting(1e-5))
    assert finding.verdict is Verdict.FOUND
    assert finding.subject == "fc.weight"
    assert finding.severity is Severity.WARNING


def test_weights_without_a_gradient_or_a_learning_rate_are_not_frozen_by_mistake() -> None:
    assert only(resting(0.0, gradient=0.0)).verdict is Verdict.CLEAR
    assert only(resting(0.0, lr=0.0)).verdict is Verdict.CLEAR


def test_nan_in_the_series_is_no_rest() -> None:
    assert only(resting(np.nan)).subject != CONVS[0]


def test_says_how_much_is_missing() -> None:
    finding = only(tape(loss=[2.3] * 50))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
