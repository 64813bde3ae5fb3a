"""Folders of the environments with clients: sagemaker<3, boto3, awscli and moto; and version 3 of the SDK."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def v3_folder() -> Path:
    """Return the folder of version 3 of the SDK: $CLEARSIGHT_CLIENTS_V3, else that of `make clients-v3`."""
    folder = Path(os.environ.get("CLEARSIGHT_CLIENTS_V3") or Path(__file__).parents[2] / ".venv-clients-v3")
    if not (folder / "bin" / "python").is_file():
        pytest.skip("no version 3 of the SDK: run `make clients-v3`, or set CLEARSIGHT_CLIENTS_V3 to a folder with it")
    return folder


def client_folder() -> Path:
    """Return a folder with bin/python and bin/aws: $CLEARSIGHT_CLIENTS, else that of `make clients`."""
    folder = Path(os.environ.get("CLEARSIGHT_CLIENTS") or Path(__file__).parents[2] / ".venv-clients")
    if not (folder / "bin" / "python").is_file():
        pytest.skip("no client environment: run `make clients`, or set CLEARSIGHT_CLIENTS to a folder with one")
    return folder
