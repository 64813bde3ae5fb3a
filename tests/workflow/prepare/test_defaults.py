"""What was left open is settled by what is trained, and what was said stays as it was said."""

from __future__ import annotations

import pytest

from clearsight.core.recipe import Recipe
from clearsight.models.network import Network
from clearsight.models.zoo import ModelSpec, build
from clearsight.workflow.prepare.defaults import resolve_defaults


@pytest.fixture(scope="module")
def network() -> Network:
    return build(ModelSpec(model="tiny", classes=3))


def test_the_first_of_two_phases_has_a_rate_of_its_own(network: Network) -> None:
    found = resolve_defaults(Recipe().replace(head_epochs=2), network, 640)
    assert (found.optim.lr, found.optim.head_lr) == (1e-3, 5e-3)  # 40 steps for a new head
    assert resolve_defaults(Recipe().replace(head_epochs=2, lr=1e-4), network, 640).optim.head_lr == 1e-4
    assert resolve_defaults(Recipe().replace(head_epochs=2, head_lr=0.1), network, 640).optim.head_lr == 0.1
    assert resolve_defaults(Recipe(), network, 640).optim.head_lr is None


@pytest.mark.parametrize(
    ("said", "images", "epochs", "lr"),
    [
        ({}, 600, 10, 1e-3),
        ({"optimizer": "sgd"}, 600, 10, 1e-2),
        ({"freeze": "backbone"}, 600, 30, 1.1e-3),  # 570 steps
        ({"freeze": "backbone"}, 60_000, 30, 1e-3),
        ({"freeze": "backbone", "epochs": 2}, 100, 2, 5e-3),  # 8 steps: no rate makes up for that
        ({"freeze": "backbone", "augment": "light"}, 600, 10, 3.2e-3),  # not cached, so epochs cost what they cost
        ({"freeze": "backbone", "lr": 0.5, "epochs": 7}, 600, 7, 0.5),
        ({"freeze": "1"}, 600, 10, 1e-3),
    ],
)
def test_settled(network: Network, said: dict[str, object], images: int, epochs: int, lr: float) -> None:
    found = resolve_defaults(Recipe().replace(**said), network, images)
    assert (found.train.epochs, found.optim.lr) == (epochs, lr)
    assert resolve_defaults(found, network, images) == found
