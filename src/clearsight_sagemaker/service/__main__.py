"""`python -m clearsight_sagemaker.service HOME`: the process of a service, as the supervisor starts it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight.jobs.listener import LISTENER
from clearsight_sagemaker.service.server import ServiceOptions, serve


def log_to_stderr() -> None:
    """Log what the service does to stderr."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("clearsight.sagemaker").setLevel(logging.INFO)


if __name__ == "__main__":
    log_to_stderr()
    environment = dict(os.environ)
    # The mark of this process for its supervisor, and its socket. A process that this one starts must not have them.
    for name in ("CLEARSIGHT_JOB", LISTENER):
        os.environ.pop(name, None)
    try:
        serve(ServiceOptions.read(Path(sys.argv[1])), environment)
    except ClearsightError as error:
        sys.exit(str(error))
