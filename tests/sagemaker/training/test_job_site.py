"""The sitecustomize of jobs: what it prepares before the script imports anything."""

from __future__ import annotations

import os
import subprocess
import sys

from clearsight_sagemaker.smdebug_folder import SMDEBUG_FOLDER
from clearsight_sagemaker.training.environment import _SITE


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
