"""NormalisationMismatch: images are not normalised as the weights expect."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from clearsight.core.context import RunContext
from clearsight.core.preprocess import IMAGENET_MEAN, IMAGENET_STD
from clearsight.core.tensors import Moment, RawTensor
from clearsight.debugger.rules.normalisation_mismatch import NormalisationMismatch
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.rules import only, verdict

HALF = (0.5, 0.5, 0.5)
IMAGENET = {"weights_mean": IMAGENET_MEAN, "weights_std": IMAGENET_STD, "pretrained": True}


def run(
    mean: tuple[float, ...] = (0.0, 0.0, 0.0),
    std: tuple[float, ...] = (1.0, 1.0, 1.0),
    *,
    scale: float = 1.0,
    low: float = 0.0,
    high: float = 1.0,
    batches: int = 9,
    extra: float = 0.0,
    **facts: object,
) -> Tape:
    """Return a run on images whose pixels, from `low` to `high`, were scaled and normalised by mean and std.

    extra: how far values go beyond at either end, as with noise put on after normalising.
    """
    result, rng = Tape(RunContext(**{"batch_size": 16, **facts}), ended=True), np.random.default_rng(0)  # type: ignore[arg-type]
    for place in range(batches):
        pixels = low + (high - low) * rng.beta(0.6, 0.6, (16, len(mean), 12, 12))
        pixels[0, :, 0, 0], pixels[0, :, 0, 1] = low, high
        result.add(
            saved((scale * pixels - np.reshape(mean, (1, -1, 1, 1))) / np.reshape(std, (1, -1, 1, 1)), place, extra)
        )
    return result


def saved(inputs: npt.NDArray[np.float64], place: int, extra: float) -> RawTensor:
    step, over = max(1, 5 * place), (0, 2, 3)
    value = np.stack([inputs.mean(over), inputs.std(over), inputs.min(over) - extra, inputs.max(over) + extra], axis=1)
    return RawTensor(Moment("train", step, 1, step), "input_channels", "inputs", value.astype(np.float32))


def rule() -> NormalisationMismatch:
    return NormalisationMismatch()


def fault() -> Tape:
    return run(**IMAGENET)  # type: ignore[arg-type]


def control() -> Tape:
    return run(IMAGENET_MEAN, IMAGENET_STD, **IMAGENET)  # type: ignore[arg-type]


def test_found_when_pretrained_weights_get_images_in_0_to_1() -> None:
    found = only(rule(), fault())
    assert found.found
    assert "not normalised" in found.cause
    assert found.fix == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def test_clear_when_normalised_as_expected() -> None:
    assert verdict(rule(), control()) == "clear"


def test_found_when_pixels_come_from_0_to_255() -> None:
    found = only(rule(), run(scale=255, **IMAGENET))  # type: ignore[arg-type]
    assert "0 to 255" in found.cause


def test_found_from_scratch_too_when_pixels_come_from_0_to_255() -> None:
    found = only(rule(), run(scale=255, pretrained=False))
    assert found.found
    assert set(found.fix) == {"mean", "std"}
    assert found.fix["mean"] == pytest.approx([0.5] * 3, abs=0.05)


@pytest.mark.parametrize("pretrained", [False, None])
@pytest.mark.parametrize("mean", [(0.0,) * 3, HALF, IMAGENET_MEAN])
def test_weights_from_scratch_take_any_normalisation(mean: tuple[float, ...], pretrained: bool | None) -> None:
    assert verdict(rule(), run(mean, IMAGENET_STD, pretrained=pretrained)) == "clear"


def test_found_when_weights_that_expect_imagenet_get_minus_1_to_1() -> None:
    found = only(rule(), run(HALF, HALF, **IMAGENET))  # type: ignore[arg-type]
    assert "-1 to 1" in found.cause


def test_found_when_weights_for_imagenet_get_other_ranges() -> None:
    result = run(IMAGENET_MEAN, IMAGENET_STD, weights_mean=HALF, weights_std=HALF, pretrained=True)
    assert "ImageNet" in only(rule(), result).cause


def test_found_when_normalised_twice() -> None:
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    twice = run(tuple(mean + mean * std), tuple(std * std), **IMAGENET)  # type: ignore[arg-type]
    assert "far outside" in only(rule(), twice).cause


def test_unknown_pretrained_weights_may_expect_either() -> None:
    assert verdict(rule(), run(HALF, HALF, pretrained=True)) == "clear"
    assert verdict(rule(), run(IMAGENET_MEAN, IMAGENET_STD, pretrained=True)) == "clear"
    assert verdict(rule(), run(pretrained=True)) == "found"


@pytest.mark.parametrize(("low", "high"), [(0.3, 1.0), (0.0, 0.6), (0.35, 0.95), (0.45, 0.75)])
def test_clear_of_images_without_dark_or_bright_pixels(low: float, high: float) -> None:
    assert verdict(rule(), run(IMAGENET_MEAN, IMAGENET_STD, low=low, high=high, **IMAGENET)) == "clear"  # type: ignore[arg-type]


def test_clear_of_noise_that_is_put_on_after_normalising() -> None:
    assert verdict(rule(), run(IMAGENET_MEAN, IMAGENET_STD, extra=2.0, **IMAGENET)) == "clear"  # type: ignore[arg-type]


def test_found_without_dark_pixels_when_nothing_leaves_0_to_1() -> None:
    assert verdict(rule(), run(low=0.2, high=0.9, **IMAGENET)) == "found"  # type: ignore[arg-type]


def test_the_recipes_normalisation_is_judged_before_the_first_step() -> None:
    facts = RunContext(**IMAGENET, used_mean=(0.0, 0.0, 0.0), used_std=(1.0, 1.0, 1.0))  # type: ignore[arg-type]
    found = only(rule(), Tape(facts))
    assert found.severity == "warning"
    assert found.fix["mean"] == [0.485, 0.456, 0.406]


def test_a_small_difference_is_an_information() -> None:
    cifar = RunContext(**IMAGENET, used_mean=(0.491, 0.482, 0.447), used_std=(0.247, 0.244, 0.262))  # type: ignore[arg-type]
    assert only(rule(), Tape(cifar)).severity == "info"


def test_features_are_judged_by_the_recipe_alone() -> None:
    facts = RunContext(**IMAGENET, used_mean=IMAGENET_MEAN, used_std=IMAGENET_STD, cached=True)  # type: ignore[arg-type]
    assert verdict(rule(), Tape(facts)) == "clear"


def test_a_recipe_that_is_right_can_still_be_done_twice() -> None:
    result = run(used_mean=IMAGENET_MEAN, used_std=IMAGENET_STD, **IMAGENET)  # type: ignore[arg-type]
    found = only(rule(), result)
    assert found.found
    assert found.fix == {}
    assert found.advice


PUBLISHED = {"usual_mean": IMAGENET_MEAN, "usual_std": IMAGENET_STD}


@pytest.mark.parametrize(("mean", "std"), [(HALF, HALF), (IMAGENET_MEAN, IMAGENET_STD)])
def test_figures_of_published_weights_are_no_truth_about_loaded_ones(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    assert verdict(rule(), run(mean, std, **PUBLISHED)) == "clear"


@pytest.mark.parametrize("scale", [1.0, 255.0])
@pytest.mark.parametrize("known", [PUBLISHED, {"pretrained": True}], ids=["published", "unknown"])
def test_without_the_weights_own_figures_it_is_an_information_without_a_fix(
    known: dict[str, object], scale: float
) -> None:
    found = only(rule(), run(scale=scale, **known))
    assert (found.severity, found.fix) == ("info", {})
    assert found.advice


def test_pixels_from_0_to_255_are_an_information_where_nothing_is_known_of_the_weights() -> None:
    assert only(rule(), run(scale=255)).severity == "info"


def test_figures_that_the_user_gives_are_known() -> None:
    found = only(rule(), run(weights_mean=HALF, weights_std=HALF, **PUBLISHED))
    assert found.severity == "warning"
    assert found.fix["mean"] == [0.5, 0.5, 0.5]


def test_says_how_much_is_missing() -> None:
    points = only(rule(), run(batches=2)).points
    assert points is not None
    assert (points.have, points.want) == (2, 3)
