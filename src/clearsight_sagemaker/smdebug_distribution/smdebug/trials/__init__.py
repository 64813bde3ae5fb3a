"""Trials: saved trainings, read back by `create_trial(path)`."""

from __future__ import annotations

import os
from typing import Any

from smdebug.core.file_store import is_s3
from smdebug.exceptions import SMDebugNotImplementedError
from smdebug.trials.trial import LocalTrial, S3Trial, Trial

__all__ = ["LocalTrial", "S3Trial", "Trial", "create_trial"]


def create_trial(
    path: str,
    name: str | None = None,
    profiler: bool = False,
    output_dir: str = "/opt/ml/processing/outputs/",
    **kwargs: Any,
) -> Trial:
    """Return the trial of a folder or an s3:// path; waits until training has written its first file.

    name: by default the last part of the path.  kwargs: range_steps, check, cache, of `Trial`.
    Raises MissingCollectionFiles where training ended without files.
    """
    path = path.strip()
    if profiler:
        raise SMDebugNotImplementedError(
            "create_trial(profiler=True) is not offered. Read profiler-output with smdebug.profiler's metrics readers."
        )
    name = os.path.basename(path) if name is None else name
    return S3Trial(name, path, **kwargs) if is_s3(path) else LocalTrial(name, path, **kwargs)
