"""Overfit: training is better than validation beyond chance, and the gap grows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clearsight.core.context import LayerInfo, RunContext
from clearsight.core.errors import BadValue
from clearsight.core.finding import Severity, Verdict
from clearsight.debugger.rules.overfit import Overfit
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import falling, tape
from tests.debugger.rules.runs import CHANCE, facts, only

EPOCHS, PER_EPOCH = 20, 10
TRAIN = falling(2.2, 0.05, EPOCHS)
VALID = np.r_[np.linspace(2.2, 1.5, 8), np.linspace(1.52, 2.2, EPOCHS - 8)]
RIGHT, VALID_RIGHT = 1 - TRAIN / 2.4, np.r_[np.linspace(0.15, 0.5, 8), np.full(EPOCHS - 8, 0.5)]


def rule() -> Overfit:
    return Overfit()


def run(train: Any, valid: Any, right: Any = None, valid_right: Any = None, known: RunContext | None = None) -> Tape:
    """Return a run with one evaluation per epoch. All (R,)."""
    scores = {"loss": valid} | ({} if valid_right is None else {"accuracy": valid_right})
    scalars: dict[str, Any] = {} if right is None else {"accuracy": np.repeat(right, PER_EPOCH)}
    return tape(
        loss=np.repeat(train, PER_EPOCH),
        valid=scores,
        per_epoch=PER_EPOCH,
        context=known or facts(steps=200),
        **scalars,
    )


def fault() -> Tape:
    return run(TRAIN, VALID, RIGHT, VALID_RIGHT)


def control() -> Tape:
    return run(TRAIN, TRAIN + 0.1, RIGHT, RIGHT - 0.03)


def test_found_when_validation_stops_following() -> None:
    finding = only(rule(), fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.epoch is not None
    assert 7 <= finding.epoch <= 9
    assert finding.fix == {"augment": "standard", "patience": 5}


@pytest.mark.parametrize(
    ("level", "rises", "expected"),
    [(1.4, False, Severity.INFO), (2.1, False, Severity.WARNING), (2.1, True, Severity.INFO)],
)
def test_validation_that_stands_still_is_a_warning_only_where_it_shows_hardly_anything(
    level: float, rises: bool, expected: Severity
) -> None:
    """Chance level is 2.3, and training ends at 0.05."""
    train = np.r_[falling(2.2, 0.6, 6), falling(0.6, 0.05, EPOCHS - 6)]
    valid = np.r_[np.linspace(2.25, level, 4), np.full(EPOCHS - 4, level)]
    right = np.linspace(0.1, 0.45, EPOCHS) if rises else np.full(EPOCHS, 0.3)
    finding = only(rule(), run(train, valid, 1 - train / 2.4, right))
    assert finding.found
    assert finding.severity is expected


def test_evaluations_with_initial_statistics_of_batch_norm_are_not_enough() -> None:
    layers = (LayerInfo(name="1", kind="norm", type="BatchNorm2d", rate=0.1),)
    saved = run(TRAIN, VALID, RIGHT, VALID_RIGHT, facts(steps=200, layers=layers))
    assert only(rule(), saved).found
    short = tape(
        loss=TRAIN,
        valid={"loss": VALID, "accuracy": VALID_RIGHT},
        per_epoch=1,
        accuracy=RIGHT,
        context=facts(steps=20, layers=layers),
    )
    finding = only(rule(), short)
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.points is not None
    assert finding.points.want == 22


def test_found_soon_after_it_begins() -> None:
    first = next(epoch for epoch in range(4, EPOCHS) if only(rule(), fault().until(epoch * PER_EPOCH)).found)
    assert first <= 12


def test_clear_when_validation_follows() -> None:
    assert only(rule(), control()).verdict is Verdict.CLEAR


def test_a_training_loss_near_nothing_is_no_overfitting() -> None:
    saved = run(falling(2.2, 0.001, EPOCHS), falling(2.2, 0.12, EPOCHS), np.full(EPOCHS, 1.0), np.full(EPOCHS, 0.97))
    assert only(rule(), saved).verdict is Verdict.CLEAR


def test_memorising_at_no_cost_to_validation_is_clear() -> None:
    saved = run(falling(2.2, 0.05, EPOCHS), falling(2.2, 0.6, EPOCHS, bend=12), RIGHT, RIGHT - 0.16)
    finding = only(rule(), saved)
    assert finding.verdict is Verdict.CLEAR
    assert finding.value is not None
    assert finding.value > 0.2  # the gap alone would do


def test_a_gap_within_the_chance_of_few_images_is_clear() -> None:
    rights = VALID_RIGHT + 0.25
    few, many = facts(steps=200, valid_size=20), facts(steps=200, valid_size=2000)
    assert only(rule(), run(TRAIN, VALID, RIGHT, rights, few)).verdict is Verdict.CLEAR
    assert only(rule(), run(TRAIN, VALID, RIGHT, rights, many)).found


def test_clear_while_validation_still_gets_better() -> None:
    saved = run(TRAIN, falling(2.2, 0.9, EPOCHS, bend=1.0), RIGHT, RIGHT - 0.3)
    assert only(rule(), saved).verdict is Verdict.CLEAR


def test_a_small_memorised_set_is_found_though_both_losses_rest() -> None:
    train, valid = np.full(EPOCHS, 0.02), np.full(EPOCHS, 1.3)
    train[:3], valid[:3] = [2.0, 1.0, 0.3], [2.1, 1.6, 1.4]
    assert only(rule(), run(train, valid, np.full(EPOCHS, 1.0), np.full(EPOCHS, 0.7))).found


def test_one_bad_evaluation_changes_nothing() -> None:
    valid, rights = TRAIN + 0.1, RIGHT - 0.03
    valid[-1], rights[-1] = 3.0, 0.2
    assert only(rule(), run(TRAIN, valid, RIGHT, rights)).verdict is Verdict.CLEAR


def test_a_nonfinite_evaluation_is_left_out() -> None:
    valid = VALID.copy()
    valid[5] = np.nan
    assert only(rule(), run(TRAIN, valid, RIGHT, VALID_RIGHT)).found


def test_losses_alone_are_enough_but_less_sure() -> None:
    finding = only(rule(), run(TRAIN, VALID))
    assert finding.found
    assert finding.confidence < 0.9


def test_nothing_learned_is_nothing_memorised() -> None:
    saved = run(np.full(EPOCHS, CHANCE), np.linspace(CHANCE, 4.0, EPOCHS), RIGHT * 0 + 0.1, RIGHT * 0 + 0.1)
    assert only(rule(), saved).verdict is Verdict.CLEAR


def test_the_remedy_is_one_that_is_not_in_use_yet() -> None:
    used = {"augment": "standard", "patience": 5}
    pretrained = facts(steps=200, pretrained=True, settings=used)
    assert only(rule(), run(TRAIN, VALID, RIGHT, VALID_RIGHT, pretrained)).fix == {"freeze": "backbone"}
    scratch = facts(steps=200, settings=used | {"weight_decay": 0.01})
    assert only(rule(), run(TRAIN, VALID, RIGHT, VALID_RIGHT, scratch)).fix == {"weight_decay": 0.05}
    cached = facts(steps=200, cached=True)
    assert only(rule(), run(TRAIN, VALID, RIGHT, VALID_RIGHT, cached)).fix == {"patience": 5}


def test_not_enough_data_without_validation() -> None:
    finding = only(rule(), tape(loss=np.repeat(TRAIN, PER_EPOCH), context=facts(steps=200)))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.points is not None
    assert (finding.points.have, finding.points.want, finding.points.of) == (0, 4, "evaluations")


def test_sagemakers_names_are_accepted() -> None:
    saved = Overfit.parse({"start_step": "100", "patience": "1", "ratio_threshold": "0.1", "tensor_regex": ".*"})
    assert saved == Overfit(start_step=100, patience=1, ratio_threshold=0.1)
    assert only(Overfit(start_step=10_000), fault()).verdict is Verdict.CLEAR
    with pytest.raises(BadValue):
        Overfit.parse({"patience": "0"})


def test_a_clear_verdict_has_its_reason() -> None:
    """What was found while the run went on may be gone at its end: the reason is shown then."""
    assert only(rule(), control()).cause == "training is better than validation by no more than chance"
    better = np.r_[VALID[:-1], 1.2]  # the best validation loss of all, in the last epoch
    recovered = only(rule(), run(TRAIN, better, RIGHT, VALID_RIGHT))
    assert recovered.verdict is Verdict.CLEAR
    assert recovered.cause in ("validation has improved since", "validation shows most of what was learned in training")
