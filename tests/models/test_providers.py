"""Collections of models: their names, the preprocessing they declare, and old or foreign spellings of tensors."""

from __future__ import annotations

import pytest
import torch

from clearsight.core.preprocess import IMAGENET_MEAN
from clearsight.models.providers import PROVIDERS, ModelProvider
from clearsight.models.providers.timm import from_config

TORCHVISION: ModelProvider = PROVIDERS.load("torchvision")


def test_every_provider_follows_the_protocol() -> None:
    for name, provider in PROVIDERS:
        assert isinstance(provider, ModelProvider), name
        assert provider.names(), name


def test_timm_config_becomes_preprocessing() -> None:
    facts = {"input_size": [3, 288, 288], "mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bicubic"}
    preprocess = from_config({**facts, "crop_pct": 0.95}, "a test")
    assert (preprocess.size, preprocess.resize, preprocess.interpolation) == (288, 303, "bicubic")
    assert (preprocess.mean, preprocess.std, preprocess.source) == ((0.5,) * 3, (0.25,) * 3, "a test")


def test_missing_values_are_timms_defaults() -> None:
    preprocess = from_config({"interpolation": "random"}, "a test")
    assert (preprocess.size, preprocess.resize, preprocess.interpolation) == (224, 256, "bilinear")
    assert preprocess.mean == IMAGENET_MEAN


@pytest.mark.parametrize("facts", [{"std": [0.0] * 3}, {"mean": [float("inf")] * 3}, {"input_size": [3, 2, 2]}])
def test_impossible_values_are_refused(facts: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"std must be positive|finite|greater than or equal"):
        from_config(facts, "a test")


def test_densenet_tensors_in_the_old_spelling() -> None:
    old = "features.denseblock1.denselayer1.norm.1.weight"
    adapted = TORCHVISION.adapt("densenet121", {old: torch.zeros(1)})
    assert list(adapted) == ["features.denseblock1.denselayer1.norm1.weight"]
    assert set(adapted) <= set(TORCHVISION.construct("densenet121", 3).state_dict())


def test_side_classifiers_are_left_out() -> None:
    tensors = {"conv1.conv.weight": torch.zeros(1), "aux1.fc1.weight": torch.zeros(1)}
    assert list(TORCHVISION.adapt("googlenet", tensors)) == ["conv1.conv.weight"]
    assert list(TORCHVISION.adapt("resnet18", tensors)) == list(tensors)


def test_ported_models_normalise_as_their_weights_expect() -> None:
    """With and without weights alike, so that a bundle rebuilds the network that was trained."""
    for name in ("googlenet", "inception_v3"):
        model = TORCHVISION.construct(name, 3)
        assert vars(model)["transform_input"]
        assert not vars(model)["aux_logits"]
