"""The service with jobs that train nothing: `python -m tests.sagemaker.clients.fake_service HOME [PORT]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from clearsight_sagemaker.service.server import ServiceOptions, serve
from tests.sagemaker.local_service import FAKE_JOB

if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    serve(ServiceOptions(home=Path(sys.argv[1]), port=port, job_command=FAKE_JOB), os.environ)
