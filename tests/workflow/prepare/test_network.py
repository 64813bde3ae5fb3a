"""Preprocessing comes with the weights; the recipe may override it and the log says who decided."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.errors import BadValue
from clearsight.core.preprocess import Preprocess
from clearsight.core.recipe import Recipe
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.defaults import weights_path
from clearsight.workflow.prepare.network import build_network, overridden

OWN = Preprocess(size=224, resize=256, mean=(0.5,) * 3, std=(0.5,) * 3, source="the weights")


def test_left_alone_it_is_the_weights_own() -> None:
    assert overridden(OWN, Recipe().data) is OWN


def test_a_new_size_keeps_the_share_that_is_cropped() -> None:
    found = overridden(OWN, Recipe().replace(image_size=112).data)
    assert (found.size, found.resize) == (112, 128)
    assert found.source == "the weights; resize, size from the recipe"


def test_mean_and_std_can_be_said() -> None:
    found = overridden(OWN, Recipe().replace(mean=[0.1, 0.2, 0.3], interpolation="bicubic").data)
    assert (found.mean, found.std, found.interpolation) == ((0.1, 0.2, 0.3), OWN.std, "bicubic")


def test_what_cannot_be_is_one_sentence() -> None:
    with pytest.raises(BadValue, match="std must be positive"):
        overridden(OWN, Recipe().replace(std=[0, 1, 1]).data)


def test_real_weights_bring_their_own_mean(real_weights: Path) -> None:
    """The usual ImageNet mean would cost these weights 17 points without a word."""
    recipe = Recipe().replace(model="timm/mobilenetv2_100", weights=str(real_weights))
    network = build_network(recipe, 6, Paths(cache=Path("unused"), weights=()))
    assert network.preprocess.mean == network.preprocess.std == (0.5, 0.5, 0.5)
    assert "metadata" in network.weights


def test_a_weights_file_is_remembered_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert weights_path("w.safetensors") == str(tmp_path / "w.safetensors")
    assert weights_path("none") == "none"
