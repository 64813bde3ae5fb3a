"""`python -m clearsight_sagemaker.transform JOB_FOLDER`: runs the batch transform job of a folder."""

from __future__ import annotations

import os
import sys

from clearsight_sagemaker.training.processes.command_line import run_command
from clearsight_sagemaker.transform.job import run_transform_job

if __name__ == "__main__":
    sys.exit(
        run_command(
            "clearsight_sagemaker.transform",
            "transform job",
            lambda folder, user, _: run_transform_job(folder, user),
            os.environ,
        )
    )
