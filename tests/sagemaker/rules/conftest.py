"""Fixtures of rules: jobs as in the tests of training, and smdebug on the path as their processes have it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.sagemaker.training.conftest import job, job_in, machine_support, private_job

DISTRIBUTION = Path(__file__).parents[3] / "src" / "clearsight_sagemaker" / "smdebug_distribution"
if str(DISTRIBUTION) not in sys.path:
    sys.path.insert(0, str(DISTRIBUTION))

__all__ = ["job", "job_in", "machine_support", "private_job"]
