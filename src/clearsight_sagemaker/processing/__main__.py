"""`python -m clearsight_sagemaker.processing JOB_FOLDER`: runs the processing job of a folder."""

from __future__ import annotations

import os
import sys

from clearsight_sagemaker.processing.job import run_processing_job
from clearsight_sagemaker.training.processes.command_line import run_command

if __name__ == "__main__":
    sys.exit(
        run_command(
            "clearsight_sagemaker.processing",
            "processing job",
            lambda folder, user, stop_seconds: run_processing_job(folder, user, stop_seconds=stop_seconds),
            os.environ,
        )
    )
