"""VanishingGradient compares the first layers with the last ones, and is clear on converged runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clearsight.core.finding import Finding, Verdict
from clearsight.debugger.rules.vanishing_gradient import VanishingGradient
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, flat, noisy, tape
from tests.debugger.rules.nets import CONVS, facts, he, series, weights


def rule() -> VanishingGradient:
    return VanishingGradient()


def run(
    first: object,
    last: object = 1e-3,
    *,
    head: object = 1e-2,
    gain: float = 1.0,
    loss: float = 2.3,
    points: int = 12,
    **more: object,
) -> Tape:
    """Return a run whose gradients lie evenly between those of the first and the last hidden layer, on a log scale.

    gain: the size of the head's weights over an ordinary one.
    """
    ends = [np.log(np.broadcast_to(np.asarray(level, float), points)) for level in (first, last)]
    between = {name: np.exp(ends[0] + (ends[1] - ends[0]) * i / 5) for i, name in enumerate(CONVS)}
    gradients = series("gradient", between | {"fc.weight": np.broadcast_to(np.asarray(head, float), points)}, points)
    statistics = {"gradients": gradients, "weights": weights(fc={"std": gain * he("fc.weight")})}
    return tape(
        loss=noisy(flat(loss, 5 * points)),
        lr=flat(1e-3, 5 * points),
        statistics=statistics,
        every=5,
        context=facts(**more),
    )


def fault() -> Tape:
    return run(1e-9)


def control() -> Tape:
    return run(3e-3)


def only(saved: Tape, **parameters: object) -> Finding:
    [finding] = VanishingGradient.parse(parameters).check(saved)
    return finding


def test_found_when_the_first_layers_get_hardly_any_gradient() -> None:
    finding = only(fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.subject == f"gradient/{CONVS[0]}"
    assert finding.steps == (1, 55)
    assert finding.fix == {"weights": "default"}
    assert finding.advice


def test_clear_when_gradients_are_of_one_size() -> None:
    assert only(control()).verdict is Verdict.CLEAR
    assert only(run(1e-4)).verdict is Verdict.CLEAR


def test_small_gradients_everywhere_are_not_vanishing_ones() -> None:
    assert only(run(3e-6, 1e-6, head=1e-6)).verdict is Verdict.CLEAR


def test_sagemakers_threshold_applies_to_the_first_layers() -> None:
    assert only(run(1e-8, 1e-8, head=1e-8)).verdict is Verdict.FOUND
    assert only(run(3e-6, 1e-6, head=1e-6), threshold="1e-5").verdict is Verdict.FOUND


def test_a_converged_run_is_clear() -> None:
    assert only(run(1e-9, loss=0.01)).verdict is Verdict.CLEAR


def test_one_odd_snapshot_changes_nothing() -> None:
    levels = flat(1e-3, 12)
    levels[6] = 1e-12
    assert only(run(levels)).verdict is Verdict.CLEAR


def test_gradients_that_come_up_behind_a_head_that_starts_at_0_are_clear() -> None:
    rising = np.geomspace(1e-12, 1e-8, 12)
    assert only(run(rising, 30 * rising)).verdict is Verdict.CLEAR


def test_the_gradient_may_be_lost_behind_the_head_already() -> None:
    assert only(run(1e-7, 1e-6)).verdict is Verdict.FOUND


def test_a_head_near_0_holds_the_gradient_back_and_that_is_healthy() -> None:
    assert only(run(1e-6, 1e-6, gain=1e-3)).verdict is Verdict.CLEAR


def test_no_gradient_at_all_is_another_rules() -> None:
    assert only(run(1e-300, 1e-300, head=1e-300)).verdict is Verdict.CLEAR


def test_a_head_alone_is_too_short() -> None:
    assert only(run(1e-9, frozen=CONVS)).verdict is Verdict.CLEAR


def test_nan_in_the_series_decides_nothing() -> None:
    levels = flat(1e-3, 12)
    levels[4:9] = np.nan
    assert only(run(levels)).verdict is Verdict.CLEAR


def test_says_how_much_is_missing() -> None:
    for saved in (run(1e-9, points=3), tape(loss=noisy(falling(2.3, 1.0, 40)), context=facts()), Tape()):
        assert only(saved).verdict is Verdict.NOT_ENOUGH_DATA
    assert only(run(1e-9, points=3)).points is not None


def sigmoids(*, norms: bool = False, loss: float = 2.2) -> Tape:
    """Return a run of layers between sigmoids whose gradients are 0.02 of the head's."""
    saved = run(2e-4, 2e-4, head=1e-2, loss=loss, act="sigmoid")
    layers = [layer for layer in saved.context.layers if norms or layer.kind != "norm"]
    saved.context = replace(saved.context, layers=tuple(layers))
    return saved


def test_two_sigmoids_without_normalisation_are_enough() -> None:
    assert "sigmoids" in only(sigmoids()).cause
    assert only(sigmoids(norms=True)).verdict is Verdict.CLEAR
    assert only(sigmoids(loss=0.9)).verdict is Verdict.CLEAR
