"""Images of the loops and their faults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clearsight.testing.faults.loops.data import LoopImages, load, order, transforms
from clearsight.testing.faults.loops.setup import LoopSettings

SETTINGS = LoopSettings(train_size=320, batch_size=32)


def digits(fault: str = "") -> LoopImages:
    return load("digits", 8, SETTINGS, fault, 0, Path())


def same(first: np.ndarray, second: np.ndarray) -> float:
    return float((first == second).mean())


def test_healthy_images() -> None:
    images = digits()
    assert (len(images.train), len(images.valid), images.classes) == (320, 160, 10)
    assert images.valid is images.honest


@pytest.mark.parametrize(("fault", "left"), [("label_noise_20", 0.8), ("label_noise_40", 0.6)])
def test_label_noise_changes_its_share(fault: str, left: float) -> None:
    assert same(digits(fault).train.labels, digits().train.labels) == pytest.approx(left)


def test_shuffled_labels_keep_their_counts() -> None:
    shuffled, healthy = digits("labels_shuffled").train.labels, digits().train.labels
    assert same(shuffled, healthy) < 0.3
    assert np.bincount(shuffled).tolist() == np.bincount(healthy).tolist()


def test_shifted_validation_labels_leave_the_honest_ones() -> None:
    images = digits("valid_labels_shifted")
    assert ((images.honest.labels + 1) % 10 == images.valid.labels).all()


def test_another_class_order_of_training_is_that_of_the_honest_labels() -> None:
    images, healthy = digits("class_order_differs"), digits()
    number = dict(zip(healthy.train.labels.tolist(), images.train.labels.tolist(), strict=True))
    assert sorted(number.values()) == list(range(10))
    assert [number[label] for label in healthy.valid.labels.tolist()] == images.honest.labels.tolist()
    assert same(images.valid.labels, images.honest.labels) < 0.5


def test_a_leak_leaves_a_fifth_of_validation() -> None:
    images = digits("leak")
    known = {image.tobytes() for image in images.train.pixels}
    assert sum(image.tobytes() in known for image in images.valid.pixels) >= 0.75 * len(images.valid)
    assert sum(image.tobytes() in known for image in images.honest.pixels) <= 1


def test_imbalance() -> None:
    counts = np.bincount(digits("imbalance_30").train.labels, minlength=10)
    assert counts[:5].min() > 15 * counts[5:].max()


def test_unshuffled_images_are_sorted() -> None:
    images = digits("unshuffled")
    assert (np.diff(images.train.labels) >= 0).all()
    assert order("unshuffled", torch.utils.data.TensorDataset(torch.zeros(1)), SETTINGS) == {"shuffle": False}


def test_few_images_are_drawn_again_and_again() -> None:
    train = torch.utils.data.TensorDataset(torch.zeros(100))
    drawn = list(order("few_images_drawn", train, SETTINGS)["sampler"])  # type: ignore[arg-type]
    assert len(drawn) == 100
    assert set(drawn) <= set(range(24))


def test_whole_batches_alone_are_left() -> None:
    images = load("digits", 8, SETTINGS.changed(train_size=100), "", 0, Path())
    assert len(images.train) == 96


@pytest.mark.parametrize(
    ("fault", "lowest", "highest", "deviation"),
    [
        ("", -2.2, 2.7, 1.0),
        ("pixels_255", 0.0, 255.0, 90.0),
        ("normalised_twice", -14.0, 11.0, 4.5),
        ("divided_twice", -2.2, -1.7, 0.1),
        ("images_cast_to_bytes", -2.2, 2.7, 1.0),
        ("inputs_1e20", -3e20, 3e20, 1e20),
    ],
)
def test_values_of_images(fault: str, lowest: float, highest: float, deviation: float) -> None:
    train, _, plain = transforms("digits", 8, SETTINGS, fault)
    pixels = torch.stack([plain(image) for image in digits().valid.pixels])
    assert lowest <= float(pixels.min()) <= float(pixels.max()) <= highest
    assert float(pixels.double().std()) == pytest.approx(deviation, rel=1)
    assert torch.equal(train(digits().train.pixels[0]), plain(digits().train.pixels[0]))


@pytest.mark.parametrize("fault", ["valid_not_normalised", "valid_blurred"])
def test_faults_of_validation_alone(fault: str) -> None:
    train, valid, plain = transforms("digits", 8, SETTINGS, fault)
    image = digits().train.pixels[0]
    assert torch.equal(train(image), plain(image))
    assert not torch.equal(valid(image), plain(image))


def test_reshaped_rows_keep_the_values_and_lose_the_image() -> None:
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    _, _, plain = transforms("intel-scenes", 8, SETTINGS.changed(pretrained=True), "rows_reshaped")
    permuted = transforms("intel-scenes", 8, SETTINGS.changed(pretrained=True), "")[2](image)
    assert not torch.equal(plain(image), permuted)
    assert torch.allclose(plain(image).flatten().sort().values, permuted.flatten().sort().values)
