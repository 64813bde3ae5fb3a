"""Other settings for a run are measured, and the run does not change."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from clearsight.core.errors import BadValue, NotFound
from clearsight.core.run import Run
from clearsight.workflow.speed.try_settings import single_changes, try_settings
from clearsight.workflow.train import train

TINY = {"model": "tiny", "weights": "none", "epochs": 1, "limit": 200, "batch_size": 16}


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on some digits."""
    return train(digits, out=tmp_path_factory.mktemp("runs") / "digits", **TINY)


def state(folder: Path) -> str:
    """A digest of every file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in files)).hexdigest()


def test_every_change_is_measured_beside_the_runs_own_settings(run: Run) -> None:
    before = state(run.path)
    tried = try_settings(run.path, steps=3)
    assert tried.rows[0].settings == {}
    changed = [next(iter(row.settings)) for row in tried.rows[1:]]
    assert {"workers", "channels_last", "precision", "batch_size", "keep_pixels"} <= set(changed)
    rates = [row.images_per_second for row in tried.rows[1:]]
    assert rates == sorted(rates, reverse=True)
    assert all(rate > 0 for rate in rates)
    rows = tried.to_json()["rows"]
    assert rows[0]["gain"] == 0
    assert all(row["steps"] == 3 for row in rows)
    assert state(run.path) == before


def test_each_candidate_changes_one_setting(digits: Path) -> None:
    from clearsight.core.recipe import Recipe
    from clearsight.workflow.run.context import LaunchContext
    from clearsight.workflow.run.execute import make_setup, run_process

    recipe = Recipe().replace(model="tiny", weights="none", workers=0, channels_last="off")
    with run_process(recipe, LaunchContext().world) as placement:
        setup = make_setup(digits, recipe, placement, LaunchContext())
        changes = single_changes(setup.recipe, placement)
    assert changes[0] == {}
    assert all(len(change) == 1 for change in changes[1:])
    assert {"workers": 0} not in changes
    assert {"channels_last": "on"} in changes
    assert len({str(change) for change in changes}) == len(changes)


def test_a_run_on_cached_features_is_refused(digits: Path, tmp_path: Path) -> None:
    run = train(digits, out=tmp_path / "run", freeze="backbone", **TINY)
    with pytest.raises(BadValue, match="cached features"):
        try_settings(run.path)


def test_missing_data_are_one_sentence(digits: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(digits, tmp_path / "digits")
    run = train(moved, out=tmp_path / "run", **TINY)
    shutil.rmtree(moved)
    with pytest.raises(NotFound, match="no longer exist"):
        try_settings(run.path)
