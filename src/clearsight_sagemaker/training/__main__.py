"""`python -m clearsight_sagemaker.training JOB_FOLDER`: runs the job of a folder, as the service starts it.

SIGTERM stops the job as the file `stop` in its folder does. The exit code is 0 for a job that is completed or stopped,
1 for one that has failed, 2 where the folder holds no job.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight_sagemaker.training.environment import user_environment
from clearsight_sagemaker.training.job import STOP_SECONDS, run_job

_FAILED, _USER_ERROR = 1, 2


def main() -> int:
    """Run the job and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m clearsight_sagemaker.training", description="Run the training job of a folder on this machine."
    )
    parser.add_argument("folder", type=Path, metavar="JOB_FOLDER", help="folder with request.json and service.json")
    parser.add_argument(
        "--stop-seconds", type=float, default=STOP_SECONDS, metavar="N", help="between SIGTERM and SIGKILL"
    )
    arguments = parser.parse_args()
    folder: Path = arguments.folder.absolute()
    signal.signal(signal.SIGTERM, lambda *_: (folder / "stop").touch())
    try:
        status = run_job(folder, user_environment(os.environ), stop_seconds=arguments.stop_seconds)
    except ClearsightError as error:
        print(error, file=sys.stderr)
        return _USER_ERROR
    return _FAILED if status == "Failed" else 0


if __name__ == "__main__":
    sys.exit(main())
