"""The recipe alone tells if the frozen part can be computed once, and how many epochs a head then gets."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from clearsight.core.recipe import Recipe
from clearsight.workflow.prepare.cacheable import HEAD_EPOCHS, planned_epochs, uncacheable

HEAD = Recipe().replace(model="tiny", weights="none", freeze="backbone")


def test_asking_loads_no_torch() -> None:
    code = "import sys, clearsight.workflow.prepare.cacheable; assert 'torch' not in sys.modules"
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
