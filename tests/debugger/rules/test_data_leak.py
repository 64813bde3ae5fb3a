"""DataLeak: equal images in training and in another split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from clearsight.core.context import LayerInfo, RunContext
from clearsight.core.tensors import Moment, RawTensor
from clearsight.debugger.rules.data_leak import DataLeak
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import findings, only, verdict
from clearsight.testing.tapes import falling, noisy, tape
from tests.debugger.scenes import mirrored, scenes, shifted, thumbnail_record

TRAIN, VALID, BATCH = 160, 64, 16
CLASSES = tuple("abcdefghij")


def run(leaked: int = 0, *, epochs: int = 3, varied: bool = False, evaluate_training: bool = False) -> Tape:
    """Return a run whose inputs have fingerprints.

    leaked: validation images that are training images.  varied: augmentation makes each training input new.
    own: the training split is evaluated too.
    """
    rng, saved, step, curves = np.random.default_rng(0), Tape(RunContext(), ended=True), 0, 0
    images = rng.integers(0, 2**62, TRAIN + VALID)
    training, valid = images[:TRAIN], images[TRAIN:].copy()
    valid[:leaked] = training[:leaked]
    valid = rng.permutation(valid)
    for epoch in range(1, epochs + 1):
        shown = rng.integers(0, 2**62, TRAIN) if varied else rng.permutation(training)
        for batch in shown.reshape(-1, BATCH):
            step += 1
            saved.add(RawTensor(Moment("train", step, epoch, step), "input_hashes", "inputs", batch))
        for batch in [*(training.reshape(-1, BATCH) if evaluate_training else []), *valid.reshape(-1, BATCH)]:
            curves += 1
            saved.add(RawTensor(Moment("eval", curves, epoch, step), "input_hashes", "inputs", batch))
    return saved


def curves(valid_end: float, *, facts: RunContext | None = None) -> Tape:
    """Return a run of 12 epochs that memorises its training images."""
    loss = noisy(falling(2.3, 0.004, 120, bend=6))
    valid = np.maximum(falling(2.2, 0.003, 12, bend=7), valid_end)
    return tape(loss=loss, valid={"loss": valid}, context=facts or RunContext(classes=CLASSES, valid_size=300))


def rule() -> DataLeak:
    return DataLeak()


def fault() -> Tape:
    return run(leaked=32)


def control() -> Tape:
    return run()


def test_found_when_the_same_inputs_come_on_both_sides() -> None:
    found = only(rule(), fault())
    assert found.found
    assert found.severity == "severe"
    assert found.value == pytest.approx(0.5)
    assert found.cause.startswith("32 of 64 validation images")
    assert found.advice


def test_found_after_the_first_epoch() -> None:
    assert verdict(rule(), fault().until(TRAIN // BATCH)) == "found"


def test_clear_when_no_input_comes_on_both_sides() -> None:
    assert verdict(rule(), control()) == "clear"


def test_a_single_image_is_an_accident() -> None:
    assert verdict(rule(), run(leaked=1)) == "clear"


def test_a_few_are_a_warning() -> None:
    assert only(rule(), run(leaked=4)).severity == "warning"


def test_augmentation_hides_equal_images() -> None:
    assert verdict(rule(), run(leaked=32, varied=True)) == "not-enough-data"


def test_evaluating_the_training_split_too_is_no_leak() -> None:
    assert verdict(rule(), run(evaluate_training=True)) == "clear"
    found = only(rule(), run(leaked=32, evaluate_training=True))
    assert found.value == pytest.approx(0.5)


def test_the_dataset_itself_decides_before_the_first_step() -> None:
    known = Tape(RunContext(duplicates={"valid": 30, "test": 0}, valid_size=120, train_size=700))
    found = only(rule(), known)
    assert found.value == pytest.approx(0.25)
    assert found.cause.startswith("30 of 120 images of the valid split")


def test_each_split_is_reported() -> None:
    known = Tape(RunContext(duplicates={"valid": 30, "test": 40}, valid_size=120))
    assert [finding.subject for finding in findings(rule(), known)] == ["valid", "test"]


@pytest.mark.parametrize("number", [0, 1])
def test_clear_when_the_dataset_has_no_duplicates(number: int) -> None:
    known = Tape(RunContext(duplicates={"valid": number}, valid_size=60))
    assert verdict(rule(), known) == "clear"


def test_a_hint_when_validation_is_as_good_as_what_was_memorised() -> None:
    found = only(rule(), curves(0.0))
    assert found.found
    assert found.severity == "info"
    assert found.confidence <= 0.5


def test_no_hint_on_easy_data_that_were_learned_well() -> None:
    assert verdict(rule(), curves(0.03)) == "not-enough-data"


@pytest.mark.parametrize(
    "facts",
    [
        RunContext(classes=CLASSES, valid_size=300, settings={"augment": "light"}),
        RunContext(classes=CLASSES, valid_size=300, settings={"mixup": 0.2}),
        RunContext(classes=CLASSES, valid_size=300, layers=(LayerInfo(name="drop", kind="dropout", type="Dropout"),)),
        RunContext(classes=CLASSES, valid_size=60),
    ],
)
def test_no_hint_where_another_cause_is_known(facts: RunContext) -> None:
    assert verdict(rule(), curves(0.0, facts=facts)) == "not-enough-data"


def test_no_hint_where_the_dataset_is_known_to_be_clean() -> None:
    assert (
        verdict(rule(), curves(0.0, facts=RunContext(classes=CLASSES, valid_size=300, duplicates={"valid": 0})))
        == "clear"
    )


def test_says_what_is_missing() -> None:
    missing = only(rule(), Tape())
    assert missing.points is not None
    assert missing.points.have == 0
    assert "neither the dataset nor the inputs" in missing.cause


# Training images that augmentation has changed


def augmented(valid: Tensor, *, per_epoch: int = 520, ended: bool = True) -> Tape:
    """Return a run that trains on scenes, mirrored and moved, and evaluates `valid`; no input comes twice."""
    images, labels = scenes(256, seed=1)
    draw, saved = np.random.default_rng(0), Tape(RunContext(), ended=ended)
    for epoch in (1, 2):
        hashes = draw.integers(0, 2**62, per_epoch)
        saved.add(RawTensor(Moment("train", 8 * epoch, epoch, 8 * epoch), "input_hashes", "inputs", hashes))
    saved.add(thumbnail_record(mirrored(shifted(images, most=2)), labels, "train", 8))
    hashes = draw.integers(0, 2**62, len(valid))
    saved.add(RawTensor(Moment("eval", 1, 1, 8), "input_hashes", "inputs", hashes))
    saved.add(thumbnail_record(valid, torch.zeros(len(valid), dtype=torch.int64), "eval", 8))
    return saved


def test_training_images_are_found_in_validation_behind_augmentation() -> None:
    images, _ = scenes(256, seed=1)
    others, _ = scenes(100, seed=2)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    found = only(rule(), augmented(torch.cat([images[:100], others])[order]))
    assert found.severity == "severe"
    assert "are nearly those of 256 training images" in found.cause


def test_other_images_behind_augmentation_are_no_leak() -> None:
    assert verdict(rule(), augmented(scenes(200, seed=2)[0])) != "found"


def test_an_evaluation_of_the_training_split_before_that_of_validation_is_no_leak() -> None:
    both = torch.cat([scenes(256, seed=1)[0][:128], scenes(128, seed=2)[0]])
    assert verdict(rule(), augmented(both)) != "found"
    assert verdict(rule(), augmented(both[torch.randperm(256)], per_epoch=200)) != "found"


def test_an_evaluation_of_training_images_alone_is_one_only_at_the_end() -> None:
    images, _ = scenes(256, seed=1)
    assert verdict(rule(), augmented(images, per_epoch=256, ended=False)) != "found"
    assert verdict(rule(), augmented(images, per_epoch=256)) == "found"
