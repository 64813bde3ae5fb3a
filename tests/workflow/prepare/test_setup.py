"""Preprocessing comes with the weights; the recipe may override it and the log says who decided."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.errors import BadValue
from clearsight.core.preprocess import Preprocess
from clearsight.core.recipe import Recipe
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.setup import build_network, override_preprocess

WEIGHTS = Preprocess(size=224, resize=256, mean=(0.5,) * 3, std=(0.5,) * 3, source="the weights")


def test_without_settings_it_is_that_of_the_weights() -> None:
    assert override_preprocess(WEIGHTS, Recipe().data) is WEIGHTS


def test_a_new_size_keeps_the_share_that_is_cropped() -> None:
    found = override_preprocess(WEIGHTS, Recipe().replace(image_size=112).data)
    assert (found.size, found.resize) == (112, 128)
    assert found.source == "the weights; resize, size from the recipe"


def test_mean_std_and_interpolation_can_be_set() -> None:
    found = override_preprocess(WEIGHTS, Recipe().replace(mean=[0.1, 0.2, 0.3], interpolation="bicubic").data)
    assert (found.mean, found.std, found.interpolation) == ((0.1, 0.2, 0.3), WEIGHTS.std, "bicubic")


def test_impossible_values_are_one_sentence() -> None:
    with pytest.raises(BadValue, match="std must be positive"):
        override_preprocess(WEIGHTS, Recipe().replace(std=[0, 1, 1]).data)


def test_real_weights_bring_their_own_mean(real_weights: Path) -> None:
    """With the ImageNet mean these weights lose 17 points of accuracy, and no error says so."""
    recipe = Recipe().replace(model="timm/mobilenetv2_100", weights=str(real_weights))
    network = build_network(recipe, tuple("abcdef"), Paths(cache=Path("unused"), weights=()))
    assert network.preprocess.mean == network.preprocess.std == (0.5, 0.5, 0.5)
    assert "metadata" in network.weights
