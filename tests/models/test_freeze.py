"""Freezing: frozen stages do not change, and an unknown extent is one sentence."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clearsight.core.errors import BadChoice, BadValue
from clearsight.models.freeze import freeze, unfreeze
from clearsight.models.network import Network
from clearsight.models.zoo import ModelSpec, build


@pytest.fixture(scope="module")
def resnet34() -> Network:
    return build(ModelSpec(model="resnet34", classes=3))


@pytest.mark.parametrize(
    ("extent", "names"),
    [
        ("none", ()),
        ("1", ("stem", "layer1")),
        ("3", ("stem", "layer1", "layer2", "layer3")),
        ("layer3", ("stem", "layer1", "layer2", "layer3")),
        ("stem", ("stem",)),
        ("4", ("stem", "layer1", "layer2", "layer3", "layer4")),
        ("backbone", ("stem", "layer1", "layer2", "layer3", "layer4")),
    ],
)
def test_how_much_is_frozen(resnet34: Network, extent: str, names: tuple[str, ...]) -> None:
    assert tuple(stage.name for stage in freeze(resnet34, extent).stages) == names


def test_families_without_a_stem_count_from_their_first_block() -> None:
    alexnet = build(ModelSpec(model="alexnet", classes=3))
    assert tuple(stage.name for stage in freeze(alexnet, "5").stages) == ("conv1", "conv2", "conv3", "conv4", "conv5")
    assert freeze(alexnet, "backbone").parameters() == alexnet.head_parameters()


def test_an_unknown_stage_is_refused_with_the_nearest_name(resnet34: Network) -> None:
    with pytest.raises(BadChoice) as caught:
        freeze(resnet34, "layer5")
    assert str(caught.value) == (
        "--freeze layer5: resnet34 has no stage of that name. Allowed: stem, layer1, layer2, layer3, layer4, backbone, "
        "none. Did you mean layer4? Or give a count of blocks: --freeze 3."
    )


@pytest.mark.parametrize("count", ["0", "5", "-1", "99999999999999999999"])
def test_a_count_out_of_range_is_refused(resnet34: Network, count: str) -> None:
    with pytest.raises(BadValue, match=f"--freeze {count}: resnet34 has 4 blocks, so a count is 1 to 4"):
        freeze(resnet34, count)


def test_an_error_changes_nothing(resnet34: Network) -> None:
    frozen = freeze(resnet34, "2")
    with pytest.raises(BadChoice):
        freeze(resnet34, "nonsense")
    assert all(not parameter.requires_grad for stage in frozen.stages for parameter in stage.parameters())


def test_train_mode_leaves_frozen_stages_in_eval_mode(resnet34: Network) -> None:
    frozen = freeze(resnet34, "2")
    resnet34.model.train()
    frozen.train_mode()
    modes = {name: part.training for name, part in resnet34.model.named_modules() if isinstance(part, nn.BatchNorm2d)}
    assert not modes["bn1"]
    assert not modes["layer2.0.bn1"]
    assert modes["layer3.0.bn1"]
    frozen.eval_mode()
    assert not any(part.training for part in resnet34.model.modules())


def test_frozen_dropout_is_off() -> None:
    alexnet = build(ModelSpec(model="alexnet", classes=3))
    frozen = freeze(alexnet, "backbone")
    prefix, images = alexnet.prefix(frozen.cut), torch.randn(1, 3, 64, 64)
    frozen.train_mode()
    with torch.no_grad():
        assert torch.equal(prefix(images), prefix(images))


def test_an_optimizer_gets_nothing_frozen(resnet34: Network) -> None:
    frozen = freeze(resnet34, "3")
    optimized = {id(parameter) for parameter in frozen.parameters()}
    assert optimized == {id(p) for p in (*resnet34.stages[4].parameters(), *resnet34.head_parameters())}


def test_frozen_weights_keep_no_old_gradient() -> None:
    network = build(ModelSpec(model="tiny", classes=3))
    network.model(torch.randn(2, 3, 32, 32)).sum().backward()
    freeze(network, "backbone")
    assert all(parameter.grad is None for parameter in network.backbone_parameters())


def test_unfreeze_trains_everything_except_what_the_zoo_keeps_fixed(resnet34: Network) -> None:
    freeze(resnet34, "backbone")
    assert unfreeze(resnet34).cut == 0
    assert all(parameter.requires_grad for parameter in resnet34.model.parameters())
    assert all(part.training for part in resnet34.model.modules())
    sines = build(ModelSpec(model="timm/vit_tiny_patch16_224", classes=3))
    fixed = Network(**{**sines.__dict__, "fixed": frozenset({"pos_embed"})})
    unfreeze(fixed)
    assert not dict(fixed.model.named_parameters())["pos_embed"].requires_grad
