"""Unset settings follow from what is trained, and given ones stay as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.recipe import Recipe
from clearsight.models.network import Network
from clearsight.models.zoo import ModelSpec, build
from clearsight.workflow.prepare.defaults import (
    HEAD_EPOCHS,
    planned_epochs,
    resolve_defaults,
    uncacheable,
    weights_path,
)


@pytest.fixture(scope="module")
def network() -> Network:
    return build(ModelSpec(model="tiny", classes=3))


def test_a_head_phase_before_the_rest_has_a_rate_of_its_own(network: Network) -> None:
    found = resolve_defaults(Recipe().replace(head_epochs=2), network, 640)
    assert (found.optim.lr, found.optim.head_lr) == (1e-3, 5e-3)  # 40 steps for a new head
    assert resolve_defaults(Recipe().replace(head_epochs=2, lr=1e-4), network, 640).optim.head_lr == 1e-4
    assert resolve_defaults(Recipe().replace(head_epochs=2, head_lr=0.1), network, 640).optim.head_lr == 0.1
    assert resolve_defaults(Recipe(), network, 640).optim.head_lr is None


@pytest.mark.parametrize(
    ("settings", "images", "epochs", "lr"),
    [
        ({}, 600, 10, 1e-3),
        ({"optimizer": "sgd"}, 600, 10, 1e-2),
        ({"freeze": "backbone"}, 600, 30, 1.1e-3),  # 570 steps
        ({"freeze": "backbone"}, 60_000, 30, 1e-3),
        ({"freeze": "backbone", "epochs": 2}, 100, 2, 5e-3),  # 8 steps: the highest rate
        ({"freeze": "backbone", "augment": "light"}, 600, 10, 3.2e-3),  # not cached, so as many epochs as usual
        ({"freeze": "backbone", "lr": 0.5, "epochs": 7}, 600, 7, 0.5),
        ({"freeze": "1"}, 600, 10, 1e-3),
    ],
)
def test_unset_settings_are_filled_in(
    network: Network, settings: dict[str, object], images: int, epochs: int, lr: float
) -> None:
    found = resolve_defaults(Recipe().replace(**settings), network, images)
    assert (found.train.epochs, found.optim.lr) == (epochs, lr)
    assert resolve_defaults(found, network, images) == found


@pytest.mark.parametrize(
    ("settings", "schedule"),
    [
        ({"epochs": 2}, "constant"),  # a cosine that ends at 0 wastes half of so few steps
        ({"epochs": 3}, "constant"),
        ({"epochs": 4}, "cosine"),
        ({}, "cosine"),
        ({"epochs": 8, "head_epochs": 6}, "constant"),  # two epochs of the whole network
        ({"epochs": 2, "freeze": "backbone"}, "cosine"),  # its rate is chosen for that
        ({"epochs": 2, "schedule": "cosine"}, "cosine"),
        ({"schedule": "step"}, "step"),
    ],
)
def test_a_short_run_has_a_constant_rate(network: Network, settings: dict[str, Any], schedule: str) -> None:
    assert resolve_defaults(Recipe().replace(**settings), network, 600).optim.schedule == schedule


def test_a_recipe_of_an_earlier_version_means_what_it_meant(network: Network) -> None:
    written = {"freeze": "none", "head_epochs": 2, "augment": "light", "schedule": "cosine", "valid_fraction": 0.15}
    found = resolve_defaults(Recipe().replace(**written), network, 600)
    assert {name: found.flat()[name] for name in written} == written
    assert found.train.head_augment is True  # the first phase was augmented as the second


def test_the_path_of_a_weights_file_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert weights_path("w.safetensors") == str(tmp_path / "w.safetensors")
    assert weights_path("none") == "none"


HEAD = Recipe().replace(model="tiny", weights="none", freeze="backbone")


def test_asking_loads_no_torch() -> None:
    code = "import sys, clearsight.workflow.prepare.defaults; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("change", "cut", "reason"),
    [
        ({}, 1, ""),
        ({"augment": "light", "views": 2}, 1, ""),
        ({}, 0, "nothing is frozen"),
        ({"feature_cache": False}, 1, "switched off"),
        ({"mixup": 0.2}, 1, "mixup and cutmix change the images before the frozen part"),
        ({"cutmix": 0.2}, 1, "mixup and cutmix change the images before the frozen part"),
        (
            {"augment": "light"},
            1,
            "augmentation changes the images; --views K keeps K augmented views of each",
        ),
    ],
)
def test_the_reason_against_caching(change: dict[str, Any], cut: int, reason: str) -> None:
    assert uncacheable(HEAD.replace(**change), cut) == reason


@pytest.mark.parametrize(
    ("change", "epochs"),
    [
        ({}, HEAD_EPOCHS),
        ({"epochs": 4}, 4),
        ({"freeze": "none"}, 10),
        ({"freeze": "2"}, 10),
        ({"feature_cache": False}, 10),
        ({"augment": "light"}, 10),
    ],
)
def test_a_head_on_cached_features_trains_longer_by_default(change: dict[str, Any], epochs: int) -> None:
    assert planned_epochs(HEAD.replace(**change)) == epochs
