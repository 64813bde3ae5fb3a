"""A model of a test in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from clearsight_sagemaker.s3.store import ObjectStore
from tests.sagemaker.hosting.model_folder import BUCKET, ModelFolder


@pytest.fixture
def model(tmp_path: Path) -> Iterator[ModelFolder]:
    with closing(ObjectStore(tmp_path / "objects")) as store:
        store.create_bucket(BUCKET)
        yield ModelFolder(tmp_path / "model", store)
