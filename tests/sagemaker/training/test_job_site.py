"""The sitecustomize of jobs: what it prepares before the script imports anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clearsight_sagemaker.smdebug_folder import SMDEBUG_FOLDER
from clearsight_sagemaker.training.environment import _SITE, is_recorded_by_image


def finders(**variables: str) -> list[str]:
    """Return the finders of modules that a Python of a job begins with."""
    code = "import sys; print(*(type(finder).__name__ for finder in sys.meta_path if not isinstance(finder, type)))"
    path = os.pathsep.join([str(_SITE), str(SMDEBUG_FOLDER)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path, "TRAINING_JOB_NAME": "dogs", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_a_variable_lets_scripts_be_recorded_that_do_not_use_smdebug() -> None:
    assert "HookAfterTorch" in finders(CLEARSIGHT_RECORD_TENSORS="1")
    assert "HookAfterTorch" not in finders()


@pytest.mark.parametrize(
    ("version", "hook", "script", "recorded"),
    [
        ("1.8", {"HookParameters": {"save_interval": "10"}}, "import torch", True),
        ("1.11", {"CollectionConfigurations": [{"CollectionName": "losses"}]}, "import torch", True),
        ("1.12", {"HookParameters": {"save_interval": "10"}}, "import torch", False),
        ("1.8", {"CollectionConfigurations": []}, "import torch", False),  # what the SDK sends with every job
        ("1.8", {"HookParameters": {"save_interval": "10"}}, "import smdebug.pytorch as smd", False),
    ],
    ids=["parameters", "collections", "newer", "default", "own-hook"],
)
def test_older_images_record_scripts_that_do_not_use_smdebug(
    tmp_path: Path, version: str, hook: dict[str, Any], script: str, recorded: bool
) -> None:
    (tmp_path / "train.py").write_text(script)
    image = f"763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:{version}-cpu-py36"
    assert is_recorded_by_image(image, {"DebugHookConfig": hook}, tmp_path) is recorded
