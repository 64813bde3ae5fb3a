"""BatchNormDrift: the same batch has another loss in evaluation mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from clearsight.core.context import LayerInfo, RunContext
from clearsight.core.finding import Severity
from clearsight.core.tensors import Moment, Scalars
from clearsight.debugger.rules.batch_norm_drift import BatchNormDrift
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import only, verdict
from clearsight.testing.tapes import falling, flat, noisy, prediction_record, tape
from tests.debugger.two_lines import Loop, small_cnn, warnings_of

NORM = LayerInfo(name="bn1", kind="norm", type="BatchNorm2d")
CLASSES = tuple("abcdefghij")


def run(
    training: Sequence[float],
    evaluating: Sequence[float],
    *,
    batch: int = 32,
    every: int = 15,
    ended: bool = True,
    **facts: object,
) -> Tape:
    """Return a run in which losses were compared at every `every`-th step."""
    defaults: dict[str, object] = {"classes": CLASSES, "layers": (NORM,), "batch_size": batch, **facts}
    saved = Tape(RunContext(**defaults), ended=ended)  # type: ignore[arg-type]
    for place, (first, second) in enumerate(zip(training, evaluating, strict=True), start=1):
        step = place * every
        at = Moment("train", step, 1, step)
        saved.add(prediction_record(np.zeros(batch, int), np.zeros(batch, int), step=step))
        saved.add(Scalars(at, {"train_mode_loss": float(first), "eval_mode_loss": float(second)}))
    return saved


def rule() -> BatchNormDrift:
    return BatchNormDrift()


def fault() -> Tape:
    return run(noisy(flat(0.6, 10)), noisy(flat(2.4, 10), seed=1))


def control() -> Tape:
    return run(noisy(falling(2.3, 0.3, 10)), noisy(falling(2.5, 0.33, 10), seed=1))


def test_found_when_evaluation_mode_is_far_worse() -> None:
    found = only(rule(), fault())
    assert found.found
    assert found.value == pytest.approx(4.0, rel=0.1)
    assert "evaluation mode" in found.cause


@pytest.mark.parametrize(("accuracy", "severity"), [(0.9, Severity.INFO), (0.5, Severity.WARNING)])
def test_an_information_where_validation_is_as_accurate_as_training(accuracy: float, severity: Severity) -> None:
    saved = fault()
    for step in (120, 150):
        saved.add(Scalars(Moment("train", step - 1, 1, step - 1), {"loss": 0.6, "accuracy": 0.9}))
        saved.add(Scalars(Moment("eval", step, 1, step), {"loss": 0.6, "accuracy": accuracy}))
    found = only(rule(), saved)
    assert (found.found, found.severity) == (True, severity)


def test_clear_when_both_agree() -> None:
    assert verdict(rule(), control()) == "clear"


def test_running_statistics_may_lag_at_the_start() -> None:
    lagging = run([1.9, 1.6, 1.2, 0.9, 0.7, 0.6, 0.5, 0.5], [9.0, 5.0, 3.0, 1.3, 0.8, 0.6, 0.5, 0.5])
    assert verdict(rule(), lagging) == "clear"


def test_running_statistics_may_lag_while_weights_move_fast() -> None:
    assert verdict(rule(), run([0.6] * 8, [2.4] * 8, ended=False)) == "clear"
    assert verdict(rule(), run([0.6] * 9, [2.4] * 9, ended=False)) == "found"


def test_one_bad_comparison_changes_nothing() -> None:
    assert verdict(rule(), run([0.5] * 10, [0.5] * 8 + [9.0, 0.5])) == "clear"


def test_a_small_loss_may_double() -> None:
    assert verdict(rule(), run([0.01] * 10, [0.03] * 10)) == "clear"


def test_evaluation_mode_may_be_better_as_with_dropout() -> None:
    assert verdict(rule(), run([1.2] * 10, [0.6] * 10)) == "clear"


def test_found_in_batches_of_two_by_a_difference_in_either_direction() -> None:
    found = only(rule(), run([1.8, 1.6, 1.9, 1.5] * 3, [0.5, 1.7, 2.4, 1.2] * 3, batch=2))
    assert found.found
    assert found.fix == {"batch_size": 32}
    assert "batches of 2" in found.cause


def test_found_in_batches_of_two_within_few_comparisons() -> None:
    assert verdict(rule(), run([2.3, 1.8, 1.6], [2.4, 0.5, 2.4], batch=2, ended=False)) == "found"


def test_small_batches_without_harm_are_clear() -> None:
    assert verdict(rule(), run([1.8, 1.6, 1.9, 1.5] * 3, [1.79, 1.62, 1.88, 1.51] * 3, batch=2)) == "clear"


def test_the_same_difference_in_large_batches_is_clear() -> None:
    assert verdict(rule(), run([1.8, 1.6, 1.9, 1.5] * 3, [0.9, 1.7, 2.2, 1.2] * 3, batch=32)) == "clear"


def test_nothing_to_drift_is_clear() -> None:
    frozen = LayerInfo(name="bn1", kind="norm", type="BatchNorm2d", frozen=True)
    plain = LayerInfo(name="fc", kind="linear", type="Linear")
    assert verdict(rule(), run([], [], layers=(plain,))) == "clear"
    assert verdict(rule(), run([], [], layers=(frozen, plain))) == "clear"


def test_a_compiled_model_with_small_batches_is_judged_by_its_validation() -> None:
    facts = RunContext(classes=CLASSES, layers=(NORM,), batch_size=2, compiled=True)
    bad = tape(loss=falling(2.3, 1.0, 40), valid={"loss": [3.5, 3.6, 3.4, 3.7]}, context=facts)
    fine = tape(loss=falling(2.3, 1.0, 40), valid={"loss": [1.9, 1.5, 1.2, 1.1]}, context=facts)
    assert [verdict(rule(), bad), verdict(rule(), fine)] == ["found", "clear"]


def test_says_how_much_is_missing() -> None:
    points = only(rule(), run([1.0] * 4, [1.0] * 4)).points
    assert points is not None
    assert (points.have, points.want) == (1, 2)


def test_a_pretrained_backbone_may_be_frozen_instead() -> None:
    tuned = run([0.6] * 10, [2.4] * 10, pretrained=True, settings={"freeze": "none"})
    assert only(rule(), tuned).fix == {"freeze": "backbone"}


def slow_norms() -> nn.Module:
    model = small_cnn()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.002
    return model


def test_slow_running_statistics_are_found_in_a_run_of_a_hundred_steps(tmp_path: Path) -> None:
    assert [name for name, _ in warnings_of(Loop(network=slow_norms, steps=100).run(tmp_path / "slow"))] == [
        "BatchNormDrift"
    ]
    assert warnings_of(Loop(steps=100).run(tmp_path / "usual")) == []
