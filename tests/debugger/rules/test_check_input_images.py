"""CheckInputImages: inputs that can hardly be images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.datasets import load_sample_image

from clearsight.core.context import LoopInfo, RunContext
from clearsight.core.tensors import Moment, RawTensor
from clearsight.debugger.capture.samples import image_statistics
from clearsight.debugger.rules.check_input_images import CheckInputImages
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import only, verdict

ORDINARY = [[0.1, 1.0, -2.1, 2.2], [-0.2, 0.9, -2.0, 2.4], [0.3, 1.1, -1.8, 2.6]]  # mean, std, min, max per channel


def run(figures: npt.ArrayLike, *, batches: int = 9, every: int = 5, noise: float = 0.05, **facts: object) -> Tape:
    """Return a run with saved channels of its inputs, around the given figures (C, 4)."""
    defaults: dict[str, object] = {"batch_size": 16, "steps_per_epoch": 11, **facts}
    result, rng = Tape(RunContext(**defaults), ended=True), np.random.default_rng(0)  # type: ignore[arg-type]
    for place in range(batches):
        step = max(1, place * every)
        value = np.asarray(figures, float) * (1 + noise * rng.standard_normal(np.shape(figures)))
        result.add(
            RawTensor(Moment("train", step, 1 + step // 11, step), "input_channels", "inputs", value.astype(np.float32))
        )
    return result


def rule() -> CheckInputImages:
    return CheckInputImages()


def fault() -> Tape:
    return run([[118.0, 60.0, 0.0, 255.0]] * 3)


def control() -> Tape:
    return run(ORDINARY)


def test_found_when_far_off_centre() -> None:
    found = only(rule(), fault())
    assert found.found
    assert found.value == pytest.approx(118, rel=0.1)
    assert found.advice


def with_blank(train: int, valid: int | None, *, images: int = 64) -> Tape:
    """Return a run in whose splits so many images are black, `valid` None for a run without validation."""
    saved, draw = control(), torch.Generator().manual_seed(0)
    for mode, count in (("train", train), ("eval", valid)):
        if count is not None:
            pixels = torch.rand(images, 3, 16, 16, generator=draw)
            pixels[:count] = 0.0
            saved.add(RawTensor(Moment(mode, 1, 1, 1), "image_statistics", "inputs", image_statistics(pixels).numpy()))
    return saved


@pytest.mark.parametrize(
    ("train", "valid", "expected"),
    [(48, 0, "severe"), (12, 0, "warning"), (12, None, "warning"), (3, 0, "clear"), (12, 12, "clear")],
)
def test_images_of_one_colour_are_found_where_validation_has_none(train: int, valid: int | None, expected: str) -> None:
    found = [finding for finding in rule().check(with_blank(train, valid)) if "of one colour" in finding.cause]
    assert [finding.severity.value for finding in found] == ([] if expected == "clear" else [expected])


@pytest.mark.parametrize(
    ("times", "mean", "std", "expected"),
    [
        (1, 0.485, 0.229, "clear"),
        (2, 0.485, 0.229, "found"),
        (1, 0.5, 0.5, "clear"),
        (2, 0.5, 0.5, "found"),
        (1, 0.7, 0.1, "clear"),  # dark and bright images of little contrast, by their own figures
    ],
)
def test_found_when_normalised_twice(times: int, mean: float, std: float, expected: str) -> None:
    figures = np.array([0.45, 0.25, 0.0, 1.0])  # of images in [0, 1]
    means, stds = np.array([mean, 0.456, 0.406]), np.array([std, 0.224, 0.225])
    if mean != 0.485:
        means, stds = np.full(3, mean), np.full(3, std)
    channels = np.tile(figures, (3, 1))
    for _ in range(times):
        channels = (channels - means[:, None] * [1, 0, 1, 1]) / stds[:, None]
    result = only(rule(), run(channels, noise=0.001))
    assert result.verdict.value == expected
    assert ("normalised twice" in result.cause) == (expected == "found")


@pytest.mark.parametrize(("mixed_up", "expected"), [(True, "found"), (False, "clear")])
def test_found_when_channels_show_different_parts_of_an_image(mixed_up: bool, expected: str) -> None:
    image = torch.tensor(np.array(load_sample_image("china.jpg")), dtype=torch.float32).permute(2, 0, 1)
    corners = [(top, left) for top in range(0, 360, 48) for left in range(0, 560, 48)]
    pieces = torch.stack([image[:, top : top + 48, left : left + 48] for top, left in corners])
    if mixed_up:
        order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(0))
        pieces = torch.stack([pieces[:, 0], pieces[order, 1], pieces[order.flip(0), 2]], 1)
    saved = run(ORDINARY)
    saved.add(RawTensor(Moment("train", 1, 1, 1), "image_statistics", "inputs", image_statistics(pieces).numpy()))
    assert verdict(rule(), saved) == expected


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(("reshaped", "expected"), [(True, "found"), (False, "clear")])
def test_found_when_images_were_reshaped_in_the_place_of_permuted(reshaped: bool, expected: str, grey: bool) -> None:
    image = torch.tensor(np.array(load_sample_image("china.jpg")), dtype=torch.float32)
    # Below the sky, which shows nothing.
    image = image.mean(2, keepdim=True).expand(-1, -1, 3) if grey else image
    corners = [(top, left) for top in range(180, 360, 36) for left in range(0, 560, 48)]
    pieces = torch.stack([image[top : top + 48, left : left + 48] for top, left in corners])
    pieces = pieces.reshape(-1, 3, 48, 48) if reshaped else pieces.permute(0, 3, 1, 2)
    saved = run(ORDINARY)
    saved.add(RawTensor(Moment("train", 1, 1, 1), "image_statistics", "inputs", image_statistics(pieces).numpy()))
    found = rule().check(saved)
    assert [finding.verdict.value for finding in found] == [expected]
    assert ("without moving them" in found[0].cause) == reshaped


def test_random_numbers_are_not_reshaped() -> None:
    saved, draw = run(ORDINARY), torch.Generator().manual_seed(0)
    pixels = torch.rand(64, 3, 16, 16, generator=draw)
    saved.add(RawTensor(Moment("train", 1, 1, 1), "image_statistics", "inputs", image_statistics(pixels).numpy()))
    assert verdict(rule(), saved) == "clear"


def test_clear_of_ordinary_images() -> None:
    assert verdict(rule(), control()) == "clear"


@pytest.mark.parametrize("centre", [1.1, -1.7, 2.2])
def test_clear_of_bright_and_of_dark_images(centre: float) -> None:
    assert verdict(rule(), run([[centre, 0.5, centre - 1, centre + 1]] * 3)) == "clear"


@pytest.mark.parametrize("cached", [True, False])
def test_found_when_most_training_images_are_nearly_one_colour(cached: bool) -> None:
    found = only(rule(), run(ORDINARY, cached=cached, blank_images=60, train_size=80))
    assert (found.found, found.value) == (True, 0.75)
    assert found.cause == "60 of 80 training images are nearly one colour"
    assert verdict(rule(), run(ORDINARY, blank_images=9, train_size=80)) == "clear"


def test_found_when_divided_by_255_twice() -> None:
    found = only(rule(), run([[-2.1, 0.004, -2.118, -2.1]] * 3, noise=0.0001))
    assert found.severity == "severe"
    assert "hardly vary" in found.cause


def test_found_when_not_finite() -> None:
    broken = run(ORDINARY)
    broken.add(RawTensor(Moment("train", 99, 9, 99), "input_channels", "inputs", np.full((3, 4), np.nan, np.float32)))
    found = only(rule(), broken)
    assert found.severity == "severe"
    assert found.steps == (99, 99)


def test_found_when_the_same_batch_comes_in_every_step() -> None:
    found = only(rule(), run(ORDINARY, noise=0.0))
    assert "the same batch" in found.cause


def test_a_dataset_of_one_batch_may_repeat_it() -> None:
    assert verdict(rule(), run(ORDINARY, noise=0.0, steps_per_epoch=1)) == "clear"


def test_the_same_batch_is_found_where_the_length_of_an_epoch_is_not_known() -> None:
    found = only(rule(), run(ORDINARY, noise=0.0, steps_per_epoch=0))
    assert "the length of an epoch is not known" in found.cause
    assert found.confidence < 0.8  # a small split may be one batch on purpose
    assert verdict(rule(), run(ORDINARY, steps_per_epoch=0)) == "clear"


def test_equal_fingerprints_show_the_same_batch_at_any_place_of_the_epoch() -> None:
    repeated, shuffled = (run(ORDINARY, every=11, batches=4) for _ in range(2))
    for step in range(1, 9):
        for saved, shift in ((repeated, 0), (shuffled, step)):
            hashes = np.arange(16) + 16 * shift
            saved.add(RawTensor(Moment("train", step, 1, step), "input_hashes", "inputs", hashes))
    assert "all 8 saved batches are the same batch" in only(rule(), repeated).cause
    assert verdict(rule(), shuffled) == "clear"


@pytest.mark.parametrize(("pool", "expected"), [(24, "found"), (100, "clear")])
def test_an_epoch_of_few_different_images_is_found(pool: int, expected: str) -> None:
    saved, rng = run(ORDINARY, steps_per_epoch=16), np.random.default_rng(0)
    for step in range(1, 33):
        hashes = rng.integers(0, pool, 16)  # drawn with replacement, as samplers that even classes out do
        saved.add(RawTensor(Moment("train", step, 1, step), "input_hashes", "inputs", hashes))
    assert verdict(rule(), saved) == expected
    if expected == "found":
        assert "the 256 images of the first epoch are 24 different ones" in only(rule(), saved).cause


def test_the_same_place_of_each_epoch_may_repeat() -> None:
    assert verdict(rule(), run(ORDINARY, noise=0.0, steps_per_epoch=5)) == "clear"
    assert verdict(rule(), run(ORDINARY, noise=0.0, batches=6, every=11, steps_per_epoch=11)) == "clear"


def test_one_odd_batch_changes_nothing() -> None:
    odd = run(ORDINARY)
    odd.add(RawTensor(Moment("train", 99, 9, 99), "input_channels", "inputs", np.full((3, 4), 50.0, dtype=np.float32)))
    assert verdict(rule(), odd) == "clear"


@pytest.mark.parametrize(
    ("draws", "images", "size", "expected"),
    [
        (560, 2, 560, "found"),
        (560, 40, 560, "found"),
        (560, 354, 560, "clear"),  # with replacement
        (560, 24, 24, "clear"),  # a small dataset that is drawn often
        (60_000, 500, 500, "clear"),  # by a sampler without an end
        (500, 500, 50_000, "clear"),  # a subset on purpose
        (64, 2, 560, "clear"),  # too short to tell
        (0, 0, 0, "clear"),
    ],
)
def test_an_epoch_of_few_images_is_found(draws: int, images: int, size: int, expected: str) -> None:
    result = only(rule(), run(ORDINARY, loop=LoopInfo(epoch_draws=draws, epoch_images=images, dataset_images=size)))
    assert result.verdict.value == expected
    assert (f"the same {images} of {size}" in result.cause) == (expected == "found")


def test_features_are_not_judged_as_images() -> None:
    assert verdict(rule(), run([[118.0, 60.0, 0.0, 255.0]] * 3, cached=True)) == "not-enough-data"


def test_says_how_much_is_missing() -> None:
    points = only(rule(), run(ORDINARY, batches=2)).points
    assert points is not None
    assert (points.have, points.want) == (2, 3)


def test_accepts_the_parameters_of_sagemaker() -> None:
    result = CheckInputImages.parse({"threshold_mean": "0.2", "threshold_samples": "100", "channel": "1"})
    assert result == CheckInputImages(max_mean=0.2, images=100)
    assert verdict(result, control()) == "found"
    assert verdict(CheckInputImages.parse({"threshold_samples": "500"}), fault()) == "not-enough-data"
