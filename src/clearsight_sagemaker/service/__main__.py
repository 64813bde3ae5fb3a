"""`python -m clearsight_sagemaker.service HOME`: the process of a service, as the supervisor starts it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from clearsight.core.errors import ClearsightError
from clearsight_sagemaker.service.server import ServiceOptions, serve


def log_to_stderr() -> None:
    """Log what the service does to stderr."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("clearsight.sagemaker").setLevel(logging.INFO)


if __name__ == "__main__":
    log_to_stderr()
    # The mark of this process for its supervisor. A supervisor that this one starts must not have it.
    os.environ.pop("CLEARSIGHT_JOB", None)
    try:
        serve(ServiceOptions.read(Path(sys.argv[1])), os.environ)
    except ClearsightError as error:
        sys.exit(str(error))
