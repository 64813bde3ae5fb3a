"""Paths of caches and weights come from the environment, else ~/.cache; new folders get the first free number."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clearsight.workflow.paths import Paths, free_folder


def test_the_environment_decides() -> None:
    environ = {"CLEARSIGHT_CACHE": "/a", "CLEARSIGHT_WEIGHTS": f"/w1{os.pathsep}/w2"}
    paths = Paths.of(environ)
    assert paths.cache == Path("/a")
    assert paths.weights[:2] == (Path("/w1"), Path("/w2"))


def test_without_variables_it_is_the_cache_of_the_user() -> None:
    assert Paths.of({"XDG_CACHE_HOME": "/x"}).cache == Path("/x/clearsight")
    assert Paths.of({}).cache == Path.home() / ".cache" / "clearsight"


def test_the_first_free_folder_is_named_after_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert free_folder("studies", "/data/my photos.zip", "study") == Path("studies/my-photos-1")
    Path("studies/my-photos-1").mkdir(parents=True)
    Path("studies/my-photos-2").mkdir()
    assert free_folder("studies", "/data/my photos.zip", "study") == Path("studies/my-photos-3")
    assert free_folder("studies", "/", "study") == Path("studies/study-1")
