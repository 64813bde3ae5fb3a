"""`python -m clearsight_sagemaker.hosting FOLDER`: serves the model of a folder on loopback, as endpoints do.

Its port and what became of it are in status.json (`ServerStatus`). SIGTERM ends it once requests in progress have their
answers. The exit code is 0 where status.json says why the model cannot be had, and 2 where the folder holds no model.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight.core.machine import process_identity
from clearsight.jobs.process import end_with_folder
from clearsight_sagemaker.hosting.model_server import model_server
from clearsight_sagemaker.hosting.server_app import build_server_app, serve_http
from clearsight_sagemaker.hosting.server_status import ServerStatus
from clearsight_sagemaker.training.environment import user_environment
from clearsight_sagemaker.training.failure import JobFailed

_USER_ERROR = 2


def main() -> int:
    """Serve and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m clearsight_sagemaker.hosting", description="Serve the model of a folder on this machine."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder with request.json and service.json")
    folder: Path = parser.parse_args().folder.absolute()
    end_with_folder(folder)
    try:
        serve(folder)
    except ClearsightError as error:
        print(error, file=sys.stderr)
        return _USER_ERROR
    return 0


def serve(folder: Path) -> None:
    """Serve until SIGTERM; raises ClearsightError for a folder without a model."""
    identity, token = process_identity(), secrets.token_urlsafe(24)
    ServerStatus(status="preparing", process=identity).write(folder)
    try:
        with model_server(folder, user_environment(os.environ)) as server:

            def write_ready(port: int) -> None:
                ServerStatus(status="ready", reason=server.problem, port=port, token=token, process=identity).write(
                    folder
                )

            serve_http(build_server_app(server, token), write_ready)
    except JobFailed as failure:
        print(failure, file=sys.stderr)
        ServerStatus(status="failed", reason=failure.reason, process=identity).write(folder)


if __name__ == "__main__":
    sys.exit(main())
