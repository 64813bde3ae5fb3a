"""Paths of caches and weights come from the environment, else ~/.cache; new folders get the first free number."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clearsight.core.errors import NotFound
from clearsight.core.run import Run
from clearsight.workflow.paths import Paths, latest, make_folder, new_folder
from tests.workflow.run_folders import write_run


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
    assert make_folder("studies", "/data/my photos.zip", "study") == Path("studies/my-photos-1")
    Path("studies/my-photos-2").mkdir()
    assert make_folder("studies", "/data/my photos.zip", "study") == Path("studies/my-photos-3")
    assert make_folder("studies", "/", "study") == Path("studies/study-1")


def test_starts_at_the_same_moment_have_different_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    together = threading.Barrier(8)

    def start(_: int) -> Path:
        together.wait()
        return make_folder("runs", "/data/photos", "run")

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(start, range(8)))) == 8


def test_a_folder_in_which_nothing_came_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound), new_folder(None, "runs", "photos", "run") as folder:
        latest([str(folder.parent)])
    assert not Path("runs").exists()
    with new_folder(None, "runs", "photos", "run") as folder:
        (folder / "run.json").touch()
    with new_folder("mine", "runs", "photos", "run") as chosen:
        assert chosen == Path("mine")
    assert [path.name for path in Path("runs").iterdir()] == ["photos-1"]
    assert not Path("mine").exists()


def test_the_latest_run_is_the_one_that_began_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match=r"last: there is no run in the folder runs/ here\. Pass its path\."):
        latest(["runs"])
    for name, started in (("a", 30.0), ("b", 50.0), ("c", 40.0)):
        run = write_run(Path("runs") / name)
        run.started = started
        run.save()
    assert latest(["runs"]) == Path("runs/b")
    (Path("runs/b") / "run.json").write_text("{")  # damaged
    assert latest(["runs"]) == Path("runs/c")


def test_only_a_run_with_a_model_can_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finished, unfinished = write_run(Path("runs/finished")), write_run(Path("runs/unfinished"))
    unfinished.started = finished.started + 1
    unfinished.save()
    with pytest.raises(NotFound, match="no run with a model"):
        latest(["runs"], with_model=True)
    (finished.bundle / "bundle.json").write_text("{}")
    assert latest(["runs"], with_model=True) == Path("runs/finished")
    assert Run.open(latest(["runs"])).name == "unfinished"
