"""open_run is the door to what was saved."""

from __future__ import annotations

from pathlib import Path

import pytest

import clearsight
from clearsight.core.errors import NotFound
from clearsight.debugger.store import FileTensorStore
from tests.debugger.records import raw, scalars


def test_a_run_folder_opens_by_its_name(tmp_path: Path) -> None:
    FileTensorStore(tmp_path / "tensors").append([scalars(1), raw(1)])
    assert clearsight.open_run(str(tmp_path)).tensor_names() == ["loss", "input_channels"]


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run in this folder"):
        clearsight.open_run(tmp_path)
