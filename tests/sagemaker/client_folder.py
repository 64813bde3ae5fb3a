"""Folder of the environment with clients: sagemaker<3, boto3, awscli and moto."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def client_folder() -> Path:
    """Return a folder with bin/python and bin/aws: $CLEARSIGHT_CLIENTS, else that of `make clients`."""
    folder = Path(os.environ.get("CLEARSIGHT_CLIENTS") or Path(__file__).parents[2] / ".venv-clients")
    if not (folder / "bin" / "python").is_file():
        pytest.skip("no client environment: run `make clients`, or set CLEARSIGHT_CLIENTS to a folder with one")
    return folder
