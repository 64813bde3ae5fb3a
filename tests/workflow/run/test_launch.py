"""Mistakes of a launch are found before a run folder exists; unset fields are those at their default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clearsight.core.errors import BadValue, NotFound, NotResumable
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.training.distributed import World
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.launch import launch_run, resume_run


@pytest.mark.parametrize(("settings", "flag"), [({"auto_tune": True}, "--auto-tune"), ({"repair": 2}, "--repair")])
def test_some_settings_need_one_process(tmp_path: Path, settings: dict[str, Any], flag: str) -> None:
    launch = LaunchContext(world=World(rank=0, size=2))
    with pytest.raises(BadValue, match=f"{flag}: it works in one process only"):
        launch_run(tmp_path, tmp_path / "run", Recipe().replace(**settings), launch)
    assert not (tmp_path / "run").exists()


def test_a_run_folder_is_never_overwritten(tmp_path: Path) -> None:
    Run.begin(tmp_path / "run", Recipe())
    with pytest.raises(NotResumable, match="a run is there already"):
        launch_run(tmp_path, tmp_path / "run", Recipe(), LaunchContext())


def test_data_that_do_not_exist_leave_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file or folder"):
        launch_run(tmp_path / "photos", tmp_path / "run", Recipe().replace(threads=1), LaunchContext())
    assert not (tmp_path / "run").exists()


def test_only_a_run_can_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run in this folder"):
        resume_run(tmp_path, LaunchContext())
