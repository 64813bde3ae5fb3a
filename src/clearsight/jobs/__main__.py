"""`python -m clearsight.jobs HOME`: the supervisor of a home, as commands start it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from clearsight.jobs.supervisor import supervise

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    supervise(Path(sys.argv[1]))
