"""ExplodingTensor finds growth that lasts, but neither a spike nor a head that starts at 0."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.errors import BadValue
from clearsight.core.finding import Finding, Verdict
from clearsight.debugger.rules.exploding_tensor import ExplodingTensor
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, noisy, tape
from tests.debugger.rules.nets import facts, he, spread, weights

NAN = float("nan")


def rule() -> ExplodingTensor:
    return ExplodingTensor()


def fault(begin: int = 30, steps: int = 60) -> Tape:
    norm = noisy(np.r_[flat(1.5, begin), 1.5 * np.geomspace(20, 1e5, steps - begin)])
    return tape(loss=noisy(flat(2.0, steps)), grad_norm=norm, lr=flat(1e-3, steps), context=facts())


def control(steps: int = 60) -> Tape:
    norm = noisy(falling(8.0, 0.3, steps), share=0.5)
    head = {"fc": {"std": np.linspace(1e-5, 0.3, 12)}}
    statistics = {"weights": weights(**head), "activations": {"activation/fc": {"std": np.linspace(1e-3, 20.0, 12)}}}
    return tape(loss=noisy(falling(2.3, 0.4, steps)), grad_norm=norm, context=facts(), statistics=statistics, every=5)


def first(saved: Tape, **parameters: object) -> Finding:
    return next(iter(ExplodingTensor.parse(parameters).check(saved)))


def test_found_from_the_step_on_where_the_climb_began() -> None:
    finding = first(fault(begin=30))
    assert finding.verdict is Verdict.FOUND
    assert finding.steps == (31, 60)
    assert finding.subject == "grad_norm"
    assert finding.fix == {"lr": 1e-4, "clip_grad": 1.0}
    assert finding.value is not None
    assert finding.value > 100


def test_clear_on_a_head_that_starts_at_0_and_a_noisy_gradient() -> None:
    assert first(control()).verdict is Verdict.CLEAR


def test_one_spike_changes_nothing() -> None:
    norm = flat(1.0, 50)
    norm[30] = 1e5
    assert first(tape(loss=flat(2.0, 50), grad_norm=norm)).verdict is Verdict.CLEAR


def test_a_gradient_that_is_large_from_the_start_has_not_grown() -> None:
    assert first(tape(loss=flat(2.0, 50), grad_norm=noisy(flat(1e4, 50)))).verdict is Verdict.CLEAR


def test_a_growth_from_a_tiny_gradient_to_an_ordinary_one_is_no_explosion() -> None:
    assert first(tape(loss=flat(2.0, 50), grad_norm=np.geomspace(1e-6, 5, 50))).verdict is Verdict.CLEAR


def test_weights_that_grow_are_found() -> None:
    std = he("conv3.weight") * np.r_[np.ones(6), np.geomspace(3, 1000, 6)]
    saved = tape(loss=flat(2.0, 60), context=facts(), statistics={"weights": weights(conv3={"std": std})}, every=5)
    finding = first(saved)
    assert finding.subject == "conv3.weight"
    assert finding.steps is not None
    assert 30 <= finding.steps[0] <= 45


def test_activations_that_grow_until_they_break_are_found() -> None:
    std = np.r_[flat(2.0, 8), 1e4, 0, 0]
    activations = {"activation/conv3": spread(1.0) | {"std": std, "nan": np.r_[np.zeros(9), 1, 1]}}
    saved = tape(loss=[*flat(2.0, 44), *[NAN] * 6], statistics={"activations": activations}, every=5)
    assert first(saved).because == ("EarlyNaN",)  # one value that was large is not a growth that lasts
    std[7] = 1e3
    saved = tape(loss=[*flat(2.0, 44), *[NAN] * 6], statistics={"activations": activations}, every=5)
    assert first(saved).subject == "activation/conv3"


def test_a_growth_that_ends_in_nan_at_once_is_a_growth() -> None:
    saved = tape(loss=[*flat(2.0, 20), NAN], grad_norm=[*flat(1.0, 19), 1e7, NAN])
    finding = first(saved)
    assert finding.subject == "grad_norm"
    assert finding.steps == (20, 21)
    assert not finding.because


def test_nan_without_growth_is_found_and_explained_by_the_rule_that_says_where() -> None:
    finding = first(tape(loss=[*flat(2.0, 20), NAN, NAN]))
    assert finding.verdict is Verdict.FOUND
    assert finding.because == ("EarlyNaN",)
    assert finding.steps == (21, 22)


def test_only_nan_leaves_growth_and_infinity_alone() -> None:
    assert first(fault(), only_nan="True").verdict is Verdict.CLEAR
    inf = tape(loss=[*flat(2.0, 20), float("inf"), float("inf")])
    assert first(inf, only_nan="True").verdict is Verdict.CLEAR
    assert first(inf).verdict is Verdict.FOUND
    assert first(tape(loss=[*flat(2.0, 20), NAN]), only_nan="True").verdict is Verdict.FOUND


def test_sagemakers_parameters_choose_the_tensors() -> None:
    assert first(fault(), collection_names="weights").verdict is Verdict.CLEAR
    assert first(fault(), collection_names="gradients").verdict is Verdict.FOUND
    assert first(fault(), tensor_regex="conv1").verdict is Verdict.CLEAR
    with pytest.raises(BadValue, match="regular expression"):
        ExplodingTensor.parse({"tensor_regex": "("})
    with pytest.raises(BadValue, match="no such collection"):
        ExplodingTensor.parse({"collection_names": "wieghts"})


def test_a_run_cut_short_while_it_grows_is_found_mid_run() -> None:
    assert first(fault(begin=30, steps=60).until(45)).verdict is Verdict.FOUND
    assert first(fault(begin=30, steps=60).until(30)).verdict is Verdict.CLEAR


def test_says_how_much_is_missing() -> None:
    finding = first(tape(loss=[2.0, 2.0], grad_norm=[1.0, 1.0]))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.points is not None
    assert (finding.points.have, finding.points.want) == (2, 6)


def test_long_runs_are_judged_by_their_beginning() -> None:
    norm = noisy(np.r_[flat(2.0, 10_000), flat(0.01, 10_000)], share=0.5)
    assert first(tape(loss=flat(2.0, 20_000), grad_norm=norm)).verdict is Verdict.CLEAR
