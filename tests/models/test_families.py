"""Families: the usual names of stages, and the zoo's dropout before the classifier replaced by that of the head."""

from __future__ import annotations

import pytest
from torch import nn

from clearsight.models.families import FAMILIES
from clearsight.models.freeze import freeze
from clearsight.models.zoo import ModelSpec, build, dissect


@pytest.mark.parametrize(
    ("model", "first", "last", "features", "head"),
    [
        ("tiny", "stem", "block3", 128, "fc"),
        ("mobilenetv1_025", "stem", "blocks.4", 256, "classifier"),
        ("resnet50", "stem", "layer4", 2048, "fc"),
        ("timm/resnet26", "stem", "layer4", 2048, "fc"),
        ("timm/mobilenetv2_100", "stem", "tail", 1280, "classifier"),
        ("timm/mobilenetv3_small_100", "stem", "tail", 1024, "classifier"),
        ("mobilenet_v2", "stem", "features.18", 1280, "classifier.1"),
        ("mobilenet_v3_small", "stem", "features.12", 1024, "classifier.3"),
        ("efficientnet_b0", "stem", "features.8", 1280, "classifier.1"),
        ("alexnet", "conv1", "fc2", 4096, "classifier.6"),
        ("vgg11", "conv1", "fc2", 4096, "classifier.6"),
        ("timm/convnext_tiny", "stem", "stages.3", 768, "head.fc"),
        ("convnext_tiny", "stem", "stages.3", 768, "classifier.2"),
        ("timm/vit_tiny_patch16_224", "stem", "blocks.11", 192, "head"),
        ("densenet121", "backbone", "backbone", 1024, "classifier"),
        ("googlenet", "backbone", "backbone", 1024, "fc"),
        ("inception_v3", "backbone", "backbone", 2048, "fc"),
        ("swin_t", "backbone", "backbone", 768, "head"),
        ("timm/resnetv2_50", "backbone", "backbone", 2048, "head.fc"),
    ],
)
def test_stages_features_and_head(model: str, first: str, last: str, features: int, head: str) -> None:
    network = build(ModelSpec(model=model, classes=3))
    assert (network.stage_names[0], network.stage_names[-1]) == (first, last)
    assert (network.features, network.head_name) == (features, head)


@pytest.mark.parametrize("model", ["mobilenet_v2", "efficientnet_b0", "mobilenet_v3_small", "mnasnet0_5"])
def test_the_zoos_dropout_before_the_classifier_is_replaced(model: str) -> None:
    network = build(ModelSpec(model=model, classes=3))
    dropouts = [part for part in network.model.modules() if isinstance(part, nn.Dropout)]
    assert not dropouts, "dropout is what --dropout says, and by default there is none"


def test_alexnets_own_dropout_belongs_to_its_backbone() -> None:
    network = build(ModelSpec(model="alexnet", classes=3))
    assert sum(isinstance(part, nn.Dropout) for part in network.model.modules()) == 2


def test_a_family_recognises_only_its_own_models() -> None:
    names = {"resnet": "resnet18", "tiny": "tiny", "mobilenet": "mobilenet_v2", "alexnet": "alexnet"}
    models = {owner: build(ModelSpec(model=name, classes=3)).model for owner, name in names.items()}
    for name, family in FAMILIES:
        assert [owner for owner, model in models.items() if family.recognises(model)] == [name] * (name in models)


def test_a_stage_can_be_named_by_its_parameters_prefix() -> None:
    network = build(ModelSpec(model="timm/mobilenetv2_100", classes=3))
    frozen = {id(parameter) for stage in freeze(network, "blocks.3").stages for parameter in stage.parameters()}
    for name, parameter in network.model.named_parameters():
        early = name.startswith(("conv_stem", "bn1", "blocks.0", "blocks.1", "blocks.2", "blocks.3"))
        assert (id(parameter) in frozen) == early, name


def test_dissecting_changes_no_parameter_name() -> None:
    model = build(ModelSpec(model="mobilenet_v2", classes=3)).model
    before = list(model.state_dict())
    dissect(model)
    assert list(model.state_dict()) == before
