"""Command line of the process of a job: `python -m PACKAGE JOB_FOLDER`, as the service starts it.

SIGTERM stops the job as the file `stop` in its folder does. The exit code is 0 for a job that is completed or stopped,
1 for one that has failed, 2 where the folder holds no job.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight.jobs.process import end_with_folder
from clearsight_sagemaker.training.environment import UserEnvironment, user_environment
from clearsight_sagemaker.training.processes.job_context import STOP_SECONDS

_FAILED, _USER_ERROR = 1, 2


def run_command(
    package: str, kind: str, run: Callable[[Path, UserEnvironment, float], str], environment: Mapping[str, str]
) -> int:
    """Run the job of the folder on the command line and return the exit code.

    package: after `python -m`.  kind: "training job".  run: takes folder, environment and seconds between SIGTERM and
    SIGKILL, and returns the status.  environment: of this process.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {package}", description=f"Run the {kind} of a folder on this machine."
    )
    parser.add_argument("folder", type=Path, metavar="JOB_FOLDER", help="folder with request.json and service.json")
    parser.add_argument(
        "--stop-seconds", type=float, default=STOP_SECONDS, metavar="N", help="between SIGTERM and SIGKILL"
    )
    arguments = parser.parse_args()
    folder: Path = arguments.folder.absolute()
    end_with_folder(folder)
    signal.signal(signal.SIGTERM, lambda *_: (folder / "stop").touch())
    try:
        status = run(folder, user_environment(environment), arguments.stop_seconds)
    except ClearsightError as error:
        print(error, file=sys.stderr)
        return _USER_ERROR
    return _FAILED if status == "Failed" else 0
