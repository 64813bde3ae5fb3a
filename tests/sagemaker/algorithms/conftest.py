"""Training jobs as in the tests of their process."""

from __future__ import annotations

from tests.sagemaker.training.conftest import job, job_in, machine_support, private_job

__all__ = ["job", "job_in", "machine_support", "private_job"]
