"""`python -m clearsight_sagemaker.training JOB_FOLDER`: runs the training job of a folder, as the service starts it."""

from __future__ import annotations

import os
import sys

from clearsight_sagemaker.training.job import run_job
from clearsight_sagemaker.training.processes.command_line import run_command

if __name__ == "__main__":
    sys.exit(
        run_command(
            "clearsight_sagemaker.training",
            "training job",
            lambda folder, user, stop_seconds: run_job(folder, user, stop_seconds=stop_seconds),
            os.environ,
        )
    )
