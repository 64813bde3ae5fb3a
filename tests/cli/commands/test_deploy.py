"""`clearsight deploy`: the models of an endpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearsight.cli.commands.deploy import model_sources
from clearsight.core.events import RunStatus
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run


def test_last_is_the_newest_run_in_a_variant_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = Run.begin(Path("runs/first"), Recipe())
    (run.bundle / "bundle.json").write_text(json.dumps({}))
    run.finish(RunStatus.COMPLETED)
    [variant, shadow] = model_sources(["b=last:0.25"], ["c=runs/second"])
    assert (variant.name, variant.path, variant.share) == ("b", Path("runs/first"), 0.25)
    assert (shadow.name, shadow.path, shadow.share) == ("c", Path("runs/second"), 0.0)
