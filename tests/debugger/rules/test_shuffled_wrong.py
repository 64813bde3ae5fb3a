"""ShuffledWrong: batches of one class, or classes one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from clearsight.core.context import RunContext
from clearsight.debugger.rules.shuffled_wrong import ShuffledWrong
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import only, verdict
from clearsight.testing.tapes import prediction_record

Order = Callable[[npt.NDArray[np.int64], np.random.Generator], npt.NDArray[np.int64]]


def shuffled(labels: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return rng.permutation(labels)


def by_class(labels: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return np.sort(labels)


def run(
    counts: Sequence[int], order: Order, *, batch: int = 16, epochs: int = 3, known: bool = True, seed: int = 0
) -> Tape:
    """Return a run on so many images per class. known: True if the counts are known beforehand."""
    rng, labels, step = np.random.default_rng(seed), np.repeat(np.arange(len(counts)), counts), 0
    saved = Tape(RunContext(class_counts=tuple(counts) if known else ()), ended=True)
    for epoch in range(1, epochs + 1):
        ordered = order(labels, rng)
        for start in range(0, len(ordered), batch):
            step += 1
            part = ordered[start : start + batch]
            saved.add(prediction_record(part, part, step=step, epoch=epoch))
    return saved


def rule() -> ShuffledWrong:
    return ShuffledWrong()


def fault() -> Tape:
    return run([60] * 6, by_class)


def control() -> Tape:
    return run([60] * 6, shuffled)


def test_found_when_ordered_by_class() -> None:
    found = only(rule(), fault())
    assert found.found
    assert found.severity == "severe"
    assert found.fix == {}
    assert "shuffle=True" in found.advice
    assert "chance gives 17%" in found.cause


@pytest.mark.parametrize("batch", [1, 2, 4, 64])
def test_found_whatever_the_size_of_a_batch(batch: int) -> None:
    assert verdict(rule(), run([60] * 6, by_class, batch=batch)) == "found"


@pytest.mark.parametrize("batch", [1, 2, 4, 16, 64])
@pytest.mark.parametrize("counts", [[60] * 6, [180, 180], [350, 10], [4] * 90, [300, 30, 10, 5]])
def test_clear_when_shuffled(counts: list[int], batch: int) -> None:
    for seed in range(3):
        assert verdict(rule(), run(counts, shuffled, batch=batch, seed=seed)) == "clear"


def test_found_when_classes_are_few_and_uneven() -> None:
    assert verdict(rule(), run([300, 60], by_class)) == "found"


def test_found_when_classes_are_many_with_few_images_each() -> None:
    found = only(rule(), run([4] * 90, by_class, batch=64))
    assert found.found
    assert "one after the other" in found.cause


def test_known_within_the_first_batches_where_the_class_counts_are() -> None:
    whole = run([200] * 6, by_class)
    assert verdict(rule(), whole.until(6)) == "found"


def test_waits_for_a_second_class_where_they_are_not() -> None:
    whole = run([200] * 6, by_class, known=False)
    assert verdict(rule(), whole.until(10)) == "not-enough-data"
    assert verdict(rule(), whole.until(20)) == "found"


def test_one_batch_of_one_class_changes_nothing() -> None:
    lucky = run([60] * 6, shuffled)
    lucky.add(prediction_record(np.zeros(16, int), np.zeros(16, int), step=999, epoch=3))
    assert verdict(rule(), lucky) == "clear"


def test_classes_drawn_evenly_are_no_order() -> None:
    def evenly(labels: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        return rng.integers(0, 4, len(labels))

    assert verdict(rule(), run([300, 30, 10, 20], evenly)) == "clear"


def test_batches_of_some_images_of_each_of_some_classes_are_no_order() -> None:
    def grouped(labels: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        return np.concatenate([np.repeat(rng.permutation(20)[:8], 2) for _ in range(len(labels) // 16)])

    assert verdict(rule(), run([20] * 20, grouped)) == "clear"


def test_a_batch_sorted_within_is_no_order() -> None:
    def tidy(labels: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        return np.sort(rng.permutation(labels)[: len(labels) // 16 * 16].reshape(-1, 16), axis=1).ravel()

    assert verdict(rule(), run([60] * 6, tidy)) == "clear"


def test_says_how_much_is_missing() -> None:
    points = only(rule(), run([60] * 6, by_class).until(2)).points
    assert points is not None
    assert (points.have, points.want) == (32, 96)


def test_a_single_class_cannot_be_ordered() -> None:
    assert verdict(rule(), run([200], by_class, known=False)) == "not-enough-data"


def test_a_long_run_is_judged_by_its_beginning() -> None:
    assert verdict(rule(), run([4000] * 10, by_class, batch=64, epochs=2)) == "found"
    assert verdict(rule(), run([4000] * 10, shuffled, batch=64, epochs=2)) == "clear"
