"""FamilyContract: what every model must do, whatever collection and family it comes from.

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

import torch
from torch import Tensor
from torch.nn import functional as F

from clearsight.core.bundle import Bundle
from clearsight.models.bundle import load, save
from clearsight.models.freeze import freeze, unfreeze
from clearsight.models.network import Network, parameter_groups

CLASSES = 6
_NEAR = 0.35  # the first loss may be off by this share of log C


def random_images(count: int, size: int, seed: int = 0) -> Tensor:
    """(count, 3, size, size) float32, normal."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def first_loss(network: Network, images: Tensor, labels: Tensor) -> float:
    """Cross-entropy of a network that has not been trained yet, in the mode in which it stands."""
    with torch.no_grad():
        return F.cross_entropy(network.model(images), labels).item()


class FamilyContract:
    """Give the fixtures `network` (six classes, random weights; shared, as every test works on a copy) and `size`."""

    def test_stages_then_head_are_the_model(self, network: Network, size: int) -> None:
        own = copy.deepcopy(network)
        freeze(own, "none").eval_mode()
        images = random_images(2, size)
        with torch.inference_mode():
            features = images
            for stage in own.stages:
                features = stage.run(features)
            assert features.shape == (2, own.features)
            assert torch.equal(own.head(features), own.model(images))

    def test_every_cut_gives_the_same_logits(self, network: Network, size: int) -> None:
        own = copy.deepcopy(network)
        freeze(own, "none").eval_mode()
        images = random_images(1, size)
        with torch.inference_mode():
            logits = own.model(images)
            for cut in {0, 1, len(own.stages) // 2, len(own.stages)}:
                assert torch.equal(own.suffix(cut).eval()(own.prefix(cut).eval()(images)), logits)

    def test_stages_and_head_own_each_parameter_once(self, network: Network, size: int) -> None:
        parts = [id(parameter) for parameter in network.backbone_parameters() + network.head_parameters()]
        assert sorted(parts) == sorted(id(parameter) for parameter in network.model.parameters())
        assert network.model.get_submodule(network.head_name) is network.head

    def test_first_loss_is_near_log_c(self, network: Network, size: int) -> None:
        own = copy.deepcopy(network)
        freeze(own, "none")
        loss = first_loss(own, random_images(6, size), torch.arange(6))
        assert abs(loss - math.log(CLASSES)) < _NEAR * math.log(CLASSES)

    def test_a_step_moves_only_what_is_not_frozen(self, network: Network, size: int) -> None:
        own = copy.deepcopy(network)
        frozen = freeze(own, "1")
        kept = {id(tensor) for stage in frozen.stages for tensor in stage.run.state_dict(keep_vars=True).values()}
        before = {name: tensor.clone() for name, tensor in own.model.state_dict().items()}
        _step(own, size)
        for name, tensor in own.model.state_dict(keep_vars=True).items():
            if id(tensor) in kept:
                assert torch.equal(tensor, before[name]), f"{name} is frozen and has moved"
            elif tensor.requires_grad:
                assert not torch.equal(tensor, before[name]), f"{name} is not frozen and has not moved"

    def test_a_frozen_backbone_leaves_the_head_alone_to_train(self, network: Network, size: int) -> None:
        own = copy.deepcopy(network)
        frozen = freeze(own, "backbone")
        before = {key: value.clone() for key, value in own.prefix(frozen.cut).state_dict().items()}
        _step(own, size)
        after = own.prefix(frozen.cut).state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert {id(p) for p in frozen.parameters()} == {id(p) for p in own.head_parameters()}

    def test_thawed_it_trains_whole_again(self, network: Network, size: int) -> None:
        own = copy.deepcopy(network)
        trained = {name for name, parameter in own.model.named_parameters() if parameter.requires_grad}
        freeze(own, "backbone")
        unfreeze(own)
        assert {name for name, parameter in own.model.named_parameters() if parameter.requires_grad} == trained
        assert all(part.training for part in own.model.modules())

    def test_the_model_pickles(self, network: Network, size: int) -> None:
        own = copy.deepcopy(network)
        own.model.eval()
        twin = pickle.loads(pickle.dumps(own.model)).eval()
        with torch.inference_mode():
            assert torch.equal(twin(random_images(1, size)), own.model(random_images(1, size)))

    def test_a_bundle_gives_the_same_logits_back(self, network: Network, size: int, tmp_path: Path) -> None:
        own = copy.deepcopy(network)
        _step(own, size)  # statistics and weights away from where a fresh build would put them
        manifest = Bundle(
            model=own.name,
            classes=tuple("abcdef"),
            preprocess=own.preprocess.model_copy(update={"size": size, "resize": size}),
        )
        save(own, manifest, tmp_path)
        again = load(Bundle.open(tmp_path))
        own.model.eval()
        with torch.inference_mode():
            assert torch.equal(again.model(random_images(3, size)), own.model(random_images(3, size)))
        assert (tmp_path / "model.onnx").is_file()


def _step(network: Network, size: int) -> None:
    """One optimizer step on four images, in the mode in which the network stands."""
    # Adam moves a weight by lr however small its gradient is; the tiny eps keeps that true of ConvNeXt's scaled layers.
    optimizer = torch.optim.Adam(parameter_groups(network.model, 0.0), lr=1e-2, eps=1e-20)
    loss = F.cross_entropy(network.model(random_images(4, size)), torch.tensor([0, 1, 2, 3]))
    torch.autograd.backward(loss)
    optimizer.step()
