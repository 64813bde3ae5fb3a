"""ValidationMismatch: what looks like overfitting and is other images or other labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from clearsight.core.finding import Severity, Verdict
from clearsight.core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from clearsight.core.tensors import Moment, RawTensor, Scalars
from clearsight.debugger.capture.samples import image_statistics
from clearsight.debugger.rules.validation_mismatch import ValidationMismatch
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import prediction_record
from tests.debugger.rules.runs import facts, only
from tests.debugger.scenes import mirrored, scenes, thumbnail_record
from tests.debugger.two_lines import Loop, Split, mlp, small_cnn, warnings_of

STEPS, CLASSES = 60, 10


def rule() -> ValidationMismatch:
    return ValidationMismatch()


def photographs(count: int = 64, *, seed: int, side: int = 24) -> Tensor:
    """Return images with smooth structure and more red than blue, normalised by figures of all of them."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 4, 4, generator=draw) + 0.5 * torch.rand(count, 3, 4, 4, generator=draw)
    images = functional.interpolate(coarse, side, mode="bilinear") + 0.05 * torch.rand(
        count, 3, side, side, generator=draw
    )
    return (images - 0.75) / 0.3 + torch.tensor([0.3, 0.0, -0.3]).view(3, 1, 1)


def run(valid: Tensor, *, train: Tensor | None = None, mapping: Any = None, accuracy: float = 0.9) -> Tape:
    """Return a run on photographs. mapping: class number of a validation label, by the true class, (C,)."""
    draw, saved = np.random.default_rng(0), Tape(facts(steps=STEPS), ended=True)
    statistics = image_statistics(photographs(seed=1) if train is None else train).numpy()
    saved.add(RawTensor(Moment("train", 1, 1, 1), "image_statistics", "inputs", statistics))

    def predicted(labels: Any) -> Any:
        right = draw.random(len(labels)) < accuracy
        return np.where(right, labels, draw.integers(0, CLASSES, len(labels)))

    for step in range(1, STEPS + 1):
        labels = draw.integers(0, CLASSES, 16)
        saved.add(prediction_record(labels, predicted(labels), step=step))
    saved.add(RawTensor(Moment("eval", 1, 1, STEPS), "image_statistics", "inputs", image_statistics(valid).numpy()))
    labels = draw.integers(0, CLASSES, 200)
    given = labels if mapping is None else np.asarray(mapping)[labels]
    saved.add(prediction_record(given, predicted(labels), step=1, mode="eval"))
    return saved


def fault() -> Tape:
    return run(0.3 * photographs(seed=2) + 0.75)


def control() -> Tape:
    return run(photographs(seed=2))


@pytest.mark.parametrize(("valid_accuracy", "expected"), [(0.5, "found"), (0.8, "clear")])
def test_images_of_another_kind_are_found_where_the_network_is_worse_at_them(
    valid_accuracy: float, expected: str
) -> None:
    images = photographs(seed=2)
    saved = run(images + 0.4 * images.mean(1, keepdim=True))
    saved.add(Scalars(Moment("train", STEPS, 1, STEPS), {"loss": 0.5, "accuracy": 0.8}))
    saved.add(Scalars(Moment("eval", 1, 1, STEPS), {"loss": 1.0, "accuracy": valid_accuracy}))
    assert only(rule(), saved).verdict.value == expected


def pasted(images: Tensor) -> Tensor:
    return functional.pad(images[..., 6:18, 6:18], (6, 6, 6, 6))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images: 0.3 * images + 0.75, "standard deviation"),
        (lambda images: 255 * (0.3 * images + 0.75), "channel means"),
        (lambda images: images - 1.5, "channel means"),
        (lambda images: images.flip(1), "another order"),
        (lambda images: images[:, [1, 2, 0]], "another order"),
        (lambda images: functional.interpolate(images, 60), "times as large"),
        (lambda images: functional.interpolate(images, 12), "times as large"),
        (lambda images: images + 3 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1)), "sharp"),
        (lambda images: images.mean(1, keepdim=True), "channels instead of 3"),
    ],
    ids=["not normalised", "0 to 255", "darker", "BGR", "GBR", "larger", "smaller", "noise", "grey"],
)
def test_other_images_are_found(change: Any, words: str) -> None:
    found = only(rule(), run(change(photographs(seed=2))))
    assert found.found
    assert found.subject == "validation images"
    assert words in found.cause


def augmentations() -> dict[str, Any]:
    draw = torch.Generator().manual_seed(7)
    return {
        "flips": lambda images: torch.where(
            torch.rand(len(images), 1, 1, 1, generator=draw) < 0.5, images.flip(3), images
        ),
        "crops": lambda images: functional.interpolate(images[..., 4:20, 4:20], 24, mode="bilinear"),
        "jitter": lambda images: images * (0.7 + 0.6 * torch.rand(len(images), 1, 1, 1, generator=draw)),
        "mixup": lambda images: 0.7 * images + 0.3 * images.roll(1, 0),
        "erasing": lambda images: torch.cat([images[..., :14] * 0, images[..., 14:]], 3)[:16],
        "another size": lambda images: functional.interpolate(images, 18, mode="bilinear"),
    }


@pytest.mark.parametrize("name", augmentations())
def test_augmented_training_images_are_no_difference(name: str) -> None:
    train = photographs(seed=1)
    changed = augmentations()[name](train)
    train = torch.cat([changed, train[len(changed) :]]) if changed.shape[1:] == train.shape[1:] else changed
    assert only(rule(), run(photographs(seed=2), train=train)).verdict is Verdict.CLEAR


@pytest.mark.parametrize(("order", "words"), [([2, 1, 0], "another order"), ([0, 1, 2], "")], ids=["BGR", "RGB"])
def test_an_order_of_channels_is_found_behind_their_normalisation(order: list[int], words: str) -> None:
    """Channels that are exchanged and then normalised get each other's mean and standard deviation."""
    figures = [torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD)]

    def normalised(seed: int, order: list[int]) -> Tensor:
        pixels = (0.15 * photographs(32, seed=seed) + 0.5)[:, order].clamp(0, 1)
        return (pixels - figures[0]) / figures[1]

    saved = run(normalised(2, order), train=normalised(1, [0, 1, 2]))
    black, white = (((value - figures[0]) / figures[1]).flatten() for value in (0.0, 1.0))
    ends = torch.stack([torch.zeros(3), torch.ones(3), black, white], 1)
    saved.add(RawTensor(Moment("train", 1, 1, 1), "input_channels", "inputs", ends.numpy()))
    assert words in only(rule(), saved).cause
    assert only(rule(), saved).found == bool(words)


def test_equal_channels_have_no_order() -> None:
    grey = [photographs(seed=seed)[:, :1].repeat(1, 3, 1, 1) for seed in (1, 2)]
    assert only(rule(), run(grey[1], train=grey[0])).verdict is Verdict.CLEAR


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ((np.arange(10) + 1) % 10, "shifted by -1"),
        ((np.arange(10) - 2) % 10, "shifted by 2"),
        ([0, 1, 3, 2, 4, 5, 7, 6, 8, 9], "another order (c as d"),
        (np.arange(10)[::-1], "another order"),
    ],
    ids=["from 1", "two on", "two pairs", "reversed"],
)
def test_other_class_numbers_are_found(mapping: Any, words: str) -> None:
    found = only(rule(), run(photographs(seed=2), mapping=mapping))
    assert (found.subject, found.severity) == ("validation labels", Severity.SEVERE)
    assert words in found.cause


def test_a_network_that_has_not_learned_says_nothing_about_class_numbers() -> None:
    shifted = (np.arange(10) + 1) % 10
    assert only(rule(), run(photographs(seed=2), mapping=shifted, accuracy=0.05)).verdict is Verdict.CLEAR


def test_many_wrong_predictions_are_no_permutation() -> None:
    assert only(rule(), run(photographs(seed=2), accuracy=0.4)).verdict is Verdict.CLEAR


def classes(train: Any, valid: Any, *, epochs: int = 3, ended: bool = True) -> Tape:
    """Return a run with these labels, each predicted right two times of three. train: of every epoch."""
    saved = Tape(facts(), ended=ended)
    for epoch in range(1, epochs + 1):
        labels = np.asarray(train)
        saved.add(prediction_record(labels, np.where(np.arange(len(labels)) % 3, labels, 0), step=epoch, epoch=epoch))
    labels = np.asarray(valid)
    saved.add(prediction_record(labels, np.where(np.arange(len(labels)) % 3, labels, 0), mode="eval"))
    return saved


def test_classes_that_only_validation_has_are_found() -> None:
    finding = only(rule(), classes([0, 1, 2] * 60, [*range(5)] * 20))
    assert (finding.severity, finding.value) == (Severity.SEVERE, 0.4)
    assert "40 of 100 validation images are of classes that none of 540 training labels has: d and e" in finding.cause


@pytest.mark.parametrize(
    "saved",
    [
        classes([0, 1, 2] * 60, [0, 1, 2] * 30 + [3, 3]),  # a rare class that the split left out
        classes([0, 1, 2] * 5, [*range(5)] * 20),  # an epoch of few images
        classes([0, 1, 2] * 60, [3, 4] * 40),  # classes apart, as in image retrieval
        classes([*range(5)] * 30, [0, 1, 2] * 30),
        classes([0, 1, 2] * 60, [*range(5)] * 20, epochs=2, ended=False),  # other classes may come
    ],
    ids=["rare", "few", "apart", "more in training", "early"],
)
def test_other_differences_of_the_classes_are_clear(saved: Tape) -> None:
    assert not only(rule(), saved).found


def test_few_images_are_not_enough() -> None:
    saved = Tape(facts(), ended=True)
    saved.add(prediction_record([0, 1], [0, 1], mode="eval"))
    finding = only(rule(), saved)
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.points is not None
    assert finding.points.have == 2


# One split grey; fixed changes of all images of a split


def grey(images: Tensor, share: float = 1.0) -> Tensor:
    """Return photographs of which the first ones are grey, each channel normalised by figures of its own."""
    count = round(share * len(images))
    flat = images[:count].mean(1, keepdim=True) * torch.tensor([1.0, 1.1, 0.9]).view(1, 3, 1, 1)
    return torch.cat([flat + torch.tensor([0.3, 0.0, -0.3]).view(1, 3, 1, 1), images[count:]])


def test_training_in_grey_and_validation_in_colour_are_found_and_the_reverse() -> None:
    first, second = photographs(seed=1), photographs(seed=2)
    found = only(rule(), run(second, train=grey(first)))
    assert (found.subject, found.severity) == ("training images", Severity.SEVERE)
    assert "100% of the training images are grey" in found.cause
    assert only(rule(), run(grey(second), train=first)).subject == "validation images"


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_some_grey_images_in_training_are_augmentation(share: float) -> None:
    assert only(rule(), run(photographs(seed=2), train=grey(photographs(seed=1), share))).verdict is Verdict.CLEAR


def test_grey_images_on_both_sides_are_clear() -> None:
    saved = run(grey(photographs(seed=2)), train=grey(photographs(seed=1)))
    assert only(rule(), saved).verdict is Verdict.CLEAR


def with_thumbnails(train: Tensor, train_labels: Tensor, valid: Tensor, valid_labels: Tensor) -> Tape:
    saved = control()
    saved.add(thumbnail_record(train, train_labels, "train", 8))
    saved.add(thumbnail_record(valid, valid_labels, "eval", STEPS))
    return saved


def test_training_images_that_are_upside_down_are_found() -> None:
    (images, labels), valid = scenes(256, seed=1), scenes(160, seed=2)
    found = only(rule(), with_thumbnails(images.flip(2), labels, *valid))
    assert "turned upside down" in found.cause
    assert found.severity is Severity.SEVERE
    assert only(rule(), with_thumbnails(mirrored(images), labels, *valid)).verdict is Verdict.CLEAR


@pytest.mark.parametrize(("shuffled", "expected"), [(True, Verdict.FOUND), (False, Verdict.CLEAR)])
def test_features_that_fail_on_validation_alone_are_labels_only_where_pixels_fail_too(
    shuffled: bool, expected: Verdict
) -> None:
    """Features of normalisation layers that belong to other weights tell nothing in evaluation mode."""
    draw = np.random.default_rng(0)
    train, (images, labels) = scenes(256, seed=1), scenes(160, seed=2)
    given = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))] if shuffled else labels
    saved = with_thumbnails(*train, images, given)
    telling = np.eye(10)[train[1].numpy()] + 0.3 * draw.normal(size=(len(train[1]), 10))
    for mode, features, columns in (("train", telling, train[1]), ("eval", draw.normal(size=(160, 10)), given)):
        rows = np.column_stack([features, columns, columns]).astype("float32")
        saved.add(RawTensor(Moment(mode, 1, 1, STEPS), "features", "outputs", rows))
    found = only(rule(), saved)
    assert found.verdict is expected
    assert found.subject == ("validation labels" if shuffled else "")


# Loops as people write them, with the README's two lines


def unnormalised(split: Split) -> Split:
    return 0.37 * split[0] + 0.3, split[1]


def raw_pixels(split: Split) -> Split:
    return 255 * unnormalised(split)[0], split[1]


def shifted(split: Split) -> Split:
    return split[0], (split[1] + 1) % 10


def misplaced(split: Split) -> Split:
    return split[0], split[1].roll(1)


def by_name(split: Split) -> Split:
    """Number the classes by the alphabet: eight, five, four, nine, one, seven, six, three, two, zero."""
    return split[0], torch.tensor([9, 4, 8, 7, 2, 1, 6, 5, 0, 3])[split[1]]


@pytest.mark.parametrize("steps", [60, 100])
@pytest.mark.parametrize("valid", [unnormalised, raw_pixels, shifted, misplaced, by_name])
def test_a_wrong_validation_is_the_cause_and_overfitting_its_consequence(
    valid: Any, steps: int, tmp_path: Path
) -> None:
    causes = warnings_of(Loop(valid=valid, steps=steps).run(tmp_path / "run"))
    assert [name for name, _ in causes] == ["ValidationMismatch"]


def few(split: Split) -> Split:
    return split[0][:40], split[1][:40]


@pytest.mark.parametrize("network", [small_cnn, mlp])
def test_overfitting_stays_overfitting(network: Any, tmp_path: Path) -> None:
    hook = Loop(network=network, train=few, steps=120, per_epoch=4, batch=10).run(tmp_path / "run")
    assert "ValidationMismatch" not in [name for name, _ in warnings_of(hook)]
