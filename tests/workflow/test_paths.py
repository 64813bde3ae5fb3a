"""Where things are kept: said by the environment, else below ~/.cache."""

from __future__ import annotations

import os
from pathlib import Path

from clearsight.workflow.paths import Paths


def test_the_environment_decides() -> None:
    said = {"CLEARSIGHT_CACHE": "/a", "CLEARSIGHT_WEIGHTS": f"/w1{os.pathsep}/w2"}
    found = Paths.of(said)
    assert found.cache == Path("/a")
    assert found.weights[:2] == (Path("/w1"), Path("/w2"))


def test_otherwise_it_is_the_users_cache() -> None:
    assert Paths.of({"XDG_CACHE_HOME": "/x"}).cache == Path("/x/clearsight")
    assert Paths.of({}).cache == Path.home() / ".cache" / "clearsight"
