"""FamilyContract: what every model must do, of whatever provider and family.

A distribution that adds a family subclasses it in its own tests:

    @pytest.fixture(scope="module")
    def network() -> Network:
        return build(ModelSpec(model="mine", classes=6))

    @pytest.fixture
    def size() -> int:
        return 64

    class TestMine(FamilyContract):
        pass
"""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from clearsight.core.bundle import Bundle
from clearsight.models.bundle import load, save
from clearsight.models.freeze import freeze, unfreeze
from clearsight.models.network import Network, parameter_groups

CLASSES = 6
_NEAR = 0.35  # the first loss may differ from log C by this share of it: a few images are not balanced exactly


def random_images(count: int, size: int, seed: int = 0) -> Tensor:
    """Return images (count, 3, size, size) float32, drawn from a normal distribution."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def first_loss(network: Network, images: Tensor, labels: Tensor) -> float:
    """Return the cross-entropy of an untrained network, in its present mode."""
    with torch.no_grad():
        return F.cross_entropy(network.model(images), labels).item()


class FamilyContract:
    """Contract suite: provide the fixtures `network` (six classes, random weights; every test copies it) and `size`."""

    @pytest.fixture
    def net(self, network: Network) -> Network:
        """Copy of the network, which may be shared: tests train it."""
        return copy.deepcopy(network)

    def test_stages_then_head_are_the_model(self, net: Network, size: int) -> None:
        freeze(net, "none").eval_mode()
        images = random_images(2, size)
        with torch.inference_mode():
            features = images
            for stage in net.stages:
                features = stage.run(features)
            assert features.shape == (2, net.features)
            assert torch.equal(net.head(features), net.model(images))

    def test_every_cut_gives_the_same_logits(self, net: Network, size: int) -> None:
        freeze(net, "none").eval_mode()
        images = random_images(1, size)
        with torch.inference_mode():
            logits = net.model(images)
            for cut in {0, 1, len(net.stages) // 2, len(net.stages)}:  # the ends and the middle: all would take minutes
                assert torch.equal(net.suffix(cut).eval()(net.prefix(cut).eval()(images)), logits)

    def test_each_parameter_is_in_one_stage_or_the_head(self, network: Network, size: int) -> None:
        parts = [id(parameter) for parameter in network.backbone_parameters() + network.head_parameters()]
        assert sorted(parts) == sorted(id(parameter) for parameter in network.model.parameters())
        assert network.model.get_submodule(network.head_name) is network.head

    def test_first_loss_is_near_log_c(self, net: Network, size: int) -> None:
        freeze(net, "none")
        loss = first_loss(net, random_images(6, size), torch.arange(6))
        assert abs(loss - math.log(CLASSES)) < _NEAR * math.log(CLASSES)

    def test_a_step_moves_only_what_is_not_frozen(self, net: Network, size: int) -> None:
        frozen = freeze(net, "1")
        frozen_ids = {id(tensor) for stage in frozen.stages for tensor in stage.run.state_dict(keep_vars=True).values()}
        before = {name: tensor.clone() for name, tensor in net.model.state_dict().items()}
        _step(net, size)
        # By identity: a stage may know a tensor by another name than the model.
        for name, tensor in net.model.state_dict(keep_vars=True).items():
            if id(tensor) in frozen_ids:
                assert torch.equal(tensor, before[name]), f"{name} is frozen and has moved"
            elif tensor.requires_grad:
                assert not torch.equal(tensor, before[name]), f"{name} is not frozen and has not moved"

    def test_with_a_frozen_backbone_only_the_head_trains(self, net: Network, size: int) -> None:
        frozen = freeze(net, "backbone")
        before = {key: value.clone() for key, value in net.prefix(frozen.cut).state_dict().items()}
        _step(net, size)
        after = net.prefix(frozen.cut).state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert {id(p) for p in frozen.parameters()} == {id(p) for p in net.head_parameters()}

    def test_unfrozen_all_of_it_trains_again(self, net: Network, size: int) -> None:
        trained = {name for name, parameter in net.model.named_parameters() if parameter.requires_grad}
        freeze(net, "backbone")
        unfreeze(net)
        assert {name for name, parameter in net.model.named_parameters() if parameter.requires_grad} == trained
        assert all(part.training for part in net.model.modules())  # freezing puts norms into evaluation mode

    def test_the_model_pickles(self, net: Network, size: int) -> None:
        net.model.eval()
        twin = pickle.loads(pickle.dumps(net.model)).eval()  # worker processes of a loader and of DDP pickle it
        with torch.inference_mode():
            assert torch.equal(twin(random_images(1, size)), net.model(random_images(1, size)))

    def test_a_bundle_gives_the_same_logits_back(self, net: Network, size: int, tmp_path: Path) -> None:
        _step(net, size)  # so that statistics and weights are not those of a new network
        manifest = Bundle(
            model=net.name,
            classes=tuple("abcdef"),
            preprocess=net.preprocess.model_copy(update={"size": size, "resize": size}),  # of the tests' small images
        )
        save(net, manifest, tmp_path)
        loaded = load(Bundle.open(tmp_path))
        net.model.eval()
        with torch.inference_mode():
            assert torch.equal(loaded.model(random_images(3, size)), net.model(random_images(3, size)))
        assert (tmp_path / "model.onnx").is_file()


def _step(network: Network, size: int) -> None:
    """Take one optimizer step on four images, in the network's present mode."""
    # Adam moves a weight by lr however small its gradient is; the tiny eps keeps that true of ConvNeXt's scaled layers.
    optimizer = torch.optim.Adam(parameter_groups(network.model, 0.0), lr=1e-2, eps=1e-20)
    loss = F.cross_entropy(network.model(random_images(4, size)), torch.tensor([0, 1, 2, 3]))
    torch.autograd.backward(loss)
    optimizer.step()
