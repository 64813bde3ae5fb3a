"""ClassImbalance: rare classes that the model misses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.rule import Rule
from clearsight.debugger.rules.class_imbalance import ClassImbalance
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import only, verdict
from clearsight.testing.tapes import prediction_record

PLAIN = {"class_weights": "none", "sampling": "natural"}
CLASSES = ("cat", "dog", "newt")


def run(
    counts: Sequence[int] = (300, 300, 10),
    recall: Sequence[float] = (0.95, 0.95, 0.0),
    *,
    valid: Sequence[int] = (60, 60, 8),
    epochs: int = 4,
    early: Sequence[float] | None = None,
    settings: dict[str, object] | None = None,
    known: bool = True,
    draws: Sequence[int] | None = None,
    ended: bool = True,
) -> Tape:
    """Return a run on so many images per class. recall: of each class; early: before the last two epochs."""
    rng = np.random.default_rng(0)
    facts = RunContext(classes=CLASSES, class_counts=tuple(counts) if known else (), settings=settings or {})
    saved, step = Tape(facts, ended=ended), 0
    for epoch in range(1, epochs + 1):
        skill = recall if early is None or epoch > epochs - 2 else early
        labels = rng.permutation(np.repeat(np.arange(3), draws or counts))
        for start in range(0, len(labels), 32):
            step += 1
            saved.add(prediction_record(*with_predictions(labels[start : start + 32], skill), step=step, epoch=epoch))
        held = np.repeat(np.arange(3), valid)
        saved.add(
            prediction_record(
                *with_predictions(held, skill), indices=np.arange(len(held)), step=step, epoch=epoch, mode="eval"
            )
        )
    return saved


def with_predictions(labels: np.ndarray, recall: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and predictions of that recall: the first ones correct, the others the first or second class."""
    predicted = labels.copy()
    for number, share in enumerate(recall):
        places = np.flatnonzero(labels == number)
        predicted[places[round(share * len(places)) :]] = 0 if number else 1
    return labels, predicted


def rule() -> Rule:
    return ClassImbalance()


def fault() -> Tape:
    return run(settings=PLAIN)


def control() -> Tape:
    return run((100, 100, 60), (0.9, 0.9, 0.85), valid=(30, 30, 20), settings=PLAIN)


def test_found_when_a_rare_class_is_missed() -> None:
    found = only(rule(), fault())
    assert found.found
    assert found.value == pytest.approx(30)
    assert found.subject == "newt"
    assert found.fix == {"class_weights": "balanced"}
    assert "100% of the latter are predicted wrongly" in found.cause


def test_clear_when_classes_have_similar_sizes() -> None:
    assert verdict(rule(), control()) == "clear"


def test_a_rare_class_that_is_learned_is_no_harm() -> None:
    assert verdict(rule(), run(recall=(0.95, 0.95, 0.75))) == "clear"


def test_a_hard_class_of_ordinary_size_is_clear() -> None:
    assert verdict(rule(), run((300, 300, 100), (0.95, 0.95, 0.1), valid=(60, 60, 20))) == "clear"


@pytest.mark.parametrize("remedy", [{"class_weights": "balanced"}, {"sampling": "balanced"}])
def test_clear_where_the_recipe_compensates(remedy: dict[str, object]) -> None:
    assert verdict(rule(), run(settings={**PLAIN, **remedy})) == "clear"


def test_clear_where_a_sampler_compensates() -> None:
    assert verdict(rule(), run(draws=(200, 200, 200))) == "clear"


def test_a_model_that_knows_nothing_does_not_neglect_the_rare() -> None:
    assert verdict(rule(), run(recall=(0.3, 0.3, 0.0))) == "clear"


def test_a_class_that_was_learned_late_is_clear() -> None:
    assert verdict(rule(), run(recall=(0.95, 0.95, 0.8), early=(0.95, 0.95, 0.0))) == "clear"


def test_waits_for_the_third_epoch() -> None:
    assert verdict(rule(), run(epochs=2, ended=False)) == "not-enough-data"
    assert verdict(rule(), run(epochs=2, ended=True)) == "found"
    assert verdict(rule(), run(epochs=3, ended=False)) == "found"


def test_training_predictions_serve_where_validation_has_too_few() -> None:
    assert verdict(rule(), run(valid=(60, 60, 1))) == "found"


def test_unknown_class_sizes_are_counted() -> None:
    assert verdict(rule(), run(known=False)) == "found"


def test_an_epoch_without_a_second_class_is_enough() -> None:
    found = only(rule(), run((300, 300, 22), known=False))
    assert found.value == pytest.approx(300 / 22)
    assert "dog has 300 training images" in found.cause or "cat has 300 training images" in found.cause


def test_part_of_an_epoch_does_not_make_a_ratio() -> None:
    part = run((300, 300, 22), known=False, ended=False).until(5)
    assert only(rule(), part).value < 10  # type: ignore[operator]


def test_says_how_much_is_missing() -> None:
    points = only(rule(), fault().until(2)).points
    assert points is not None
    assert (points.have, points.want) == (64, 100)


def test_accepts_the_parameters_of_sagemaker() -> None:
    saved = ClassImbalance.parse({"threshold_imbalance": "50", "threshold_misprediction": "0.9", "samples": "10"})
    assert saved == ClassImbalance(max_ratio=50, max_missed=0.9, images=10)
    assert verdict(saved, fault()) == "clear"
    assert ClassImbalance.parse({"argmax": "True", "labels_regex": ".*labels"}) == ClassImbalance()
