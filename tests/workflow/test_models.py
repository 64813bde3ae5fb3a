"""models: what is listed, in which order, what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.errors import BadChoice
from clearsight.workflow.models import ListedModel, ModelList, models
from clearsight.workflow.paths import Paths


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Return folders of a zoo of three small models."""
    monkeypatch.setattr("clearsight.models.zoo.names", lambda: ["tiny", "mobilenetv1_025", "alexnet"])
    (tmp_path / "weights").mkdir()
    return Paths(cache=tmp_path / "cache", weights=(tmp_path / "weights",))


def test_models_with_weights_on_disk_come_first(paths: Paths) -> None:
    (paths.weights[0] / "tiny.safetensors").touch()
    found = models("*", measure=True, limit=1, paths=paths)
    assert [row.name for row in found] == ["tiny"]
    assert found[0].weights == str(paths.weights[0] / "tiny.safetensors")
    assert found.more == 2
    assert "and 2 more: --limit N or --all" in repr(found)
    assert "on disk" in repr(found)


def test_a_measured_speed_is_kept_and_an_estimate_is_marked(paths: Paths) -> None:
    assert models("tiny", measure=True, paths=paths)[0].measured
    assert models("tiny", paths=paths)[0].measured
    estimated = models("mobilenetv1_025", paths=paths)
    assert not estimated[0].measured
    assert estimated[0].train is not None
    assert "~" in estimated.lines()[1]
    assert "marks an estimate" in estimated.lines()[-1]
    assert estimated.to_json()["models"][0]["measured"] is False


def test_an_unknown_name_is_refused_with_the_nearest(paths: Paths) -> None:
    with pytest.raises(BadChoice, match=r"no model has such a name.* Did you mean alexnet\?"):
        models("alexnett", paths=paths)


def test_unknown_facts_are_empty_cells() -> None:
    listed = ModelList(pattern="x", rows=(ListedModel(name="x"),))
    assert listed.lines()[1].split() == ["x", "not", "stated"]
