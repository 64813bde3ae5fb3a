"""Mistakes of a launch are found before a run folder exists; unset fields are those at their default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from clearsight.core.errors import BadValue, NotFound, NotResumable
from clearsight.core.events import EpochRecord, NullObserver, RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.debugger.hook import Hook
from clearsight.training.distributed import World
from clearsight.workflow.run.checks import run_lock
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.launch import launch_run, resume_run
from clearsight.workflow.train import resume
from tests.workflow.run_folders import write_run


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


TINY: dict[str, Any] = {"model": "tiny", "weights": "none", "limit": 40, "image_size": 16, "epochs": 1, "threads": 1}


def test_a_run_that_is_written_to_is_not_resumed(tmp_path: Path, digits: Path) -> None:
    run = write_run(tmp_path / "run", status=RunStatus.INTERRUPTED)
    before = run.files.state.read_bytes()
    with run_lock(run.path):
        for continued in (lambda: resume(run.path, data=digits), lambda: resume_run(run.path, LaunchContext())):
            with pytest.raises(NotResumable, match=r"process \d+ on \S+ works on this run\. Wait until it ends"):
                continued()
    assert run.files.state.read_bytes() == before


def test_of_two_starts_in_one_folder_the_second_is_refused(tmp_path: Path, digits: Path) -> None:
    (tmp_path / "run").mkdir()
    with run_lock(tmp_path / "run"), pytest.raises(NotResumable, match="works on this run"):
        launch_run(digits, tmp_path / "run", Recipe().replace(**TINY), LaunchContext())
    assert list((tmp_path / "run").iterdir()) == []


def test_a_run_holds_its_lock_to_the_end_and_leaves_none(tmp_path: Path, digits: Path) -> None:
    locked: list[bool] = []

    class Watching(NullObserver):
        def on_epoch(self, record: EpochRecord) -> None:
            locked.append((tmp_path / "run" / "run.lock").exists())

    launch_run(digits, tmp_path / "run", Recipe().replace(**TINY), LaunchContext(observers=[Watching()]))
    assert locked == [True]
    assert not list((tmp_path / "run").rglob("run.lock"))


def test_a_hook_and_a_run_do_not_share_a_folder(tmp_path: Path) -> None:
    hook = Hook(tmp_path / "run", rules="none", quiet=True).watch(nn.Linear(2, 2))
    with pytest.raises(NotResumable, match="works on this run"):
        run_lock(tmp_path / "run").__enter__()
    hook.save_scalar("loss", 1.0)
    hook.close()
    with pytest.raises(NotResumable, match="the files of another training loop are there"):
        Run.check_free(tmp_path / "run")


def test_of_two_hooks_in_one_folder_the_second_is_refused(tmp_path: Path) -> None:
    first = Hook(tmp_path / "run", rules="none", quiet=True).watch(nn.Linear(2, 2))
    (tmp_path / "run" / "tensors" / "index.jsonl").unlink(missing_ok=True)  # as if it had saved nothing yet
    with pytest.raises(NotResumable, match=r"process \d+ on \S+ works on this run"):
        Hook(tmp_path / "run", rules="none", quiet=True).watch(nn.Linear(2, 2))
    first.close()
    assert not (tmp_path / "run" / "run.lock").exists()
