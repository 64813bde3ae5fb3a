"""Checkpoints restore bit-equal tensors, and refuse damaged files and other models."""

from pathlib import Path

import pytest
import torch
from torch import nn

from clearsight.core.errors import NotResumable
from clearsight.training.checkpoint import (
    Checkpoints,
    frozen_digest,
    load_into,
    optimizer_state,
    restore_optimizer,
    trainable_state,
)


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))


def test_round_trip_is_bit_equal(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 4), "half": torch.randn(2).half(), "count": torch.tensor(5), "empty": torch.empty(0)}
    state = {"position": {"step": 3, "loss": 0.1 + 0.2}}
    Checkpoints.write(tmp_path / "c.safetensors", tensors, state)
    restored, facts = Checkpoints.read(tmp_path / "c.safetensors")
    assert facts == state
    assert all(
        torch.equal(restored[name], tensor) and restored[name].dtype == tensor.dtype for name, tensor in tensors.items()
    )


def test_last_step_without_a_checkpoint_is_zero(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.last_step() == 0
    Checkpoints.write(checkpoints.newest, {}, {"position": {"step": 12}})
    assert checkpoints.last_step() == 12


@pytest.mark.parametrize("damage", [lambda b: b[:40], lambda b: b"", lambda b: b"\xff" * len(b)])
def test_damage_is_one_sentence(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "c.safetensors"
    Checkpoints.write(path, {"a": torch.zeros(9)}, {})
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(NotResumable, match="cannot be read"):
        Checkpoints.read(path)
    with pytest.raises(NotResumable, match="no checkpoint"):
        Checkpoints.read(tmp_path / "none.safetensors")


def test_only_what_training_changes_is_stored() -> None:
    net = model()
    net(torch.zeros(1, 3, 8, 8))
    for parameter in net[0].parameters():
        parameter.requires_grad_(False)
    net[1].eval()
    names = set(trainable_state(net))
    assert names == {"1.weight", "1.bias", "3.weight", "3.bias"}
    net[1].train()
    assert "1.running_mean" in trainable_state(net)


def test_the_digest_changes_with_the_frozen_part_alone() -> None:
    net = model()
    net(torch.zeros(1, 3, 8, 8))
    changing = {name: p for name, p in net.named_parameters() if name.startswith("3")}
    before = frozen_digest(net, changing)
    with torch.no_grad():
        net[3].weight.add_(1)
    assert frozen_digest(net, changing) == before
    with torch.no_grad():
        net[0].weight[0, 0, 0, 0] += 1e-7
    assert frozen_digest(net, changing) != before


def test_a_tensor_that_does_not_fit_is_refused() -> None:
    with pytest.raises(NotResumable, match=r"weight: the model has no tensor of that name and shape"):
        load_into(nn.Linear(2, 2), {"weight": torch.zeros(3, 3)})


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Adam, lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)])
def test_moments_come_back(kind: object) -> None:
    def build() -> tuple[nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(1)
        net = nn.Linear(3, 2)
        return net, kind(net.parameters())  # type: ignore[operator]

    net, optimizer = build()
    for _ in range(3):
        net(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    twin, other = build()
    load_into(twin, net.state_dict())
    restore_optimizer(other, optimizer_state(optimizer))
    for model, its in ((net, optimizer), (twin, other)):
        its.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        its.step()
    assert torch.equal(net.weight, twin.weight)
