"""`evaluate` measures a bundle on the labelled images that a path and a split name."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.errors import BadChoice, BadData
from clearsight.testing.mean_colour import CLASSES, make_bundle
from clearsight.workflow.evaluate import evaluate
from clearsight.workflow.paths import Paths
from tests.workflow.colour_images import write_class_folders, write_image


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle")).path


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(cache=tmp_path / "cache", weights=())


def test_a_folder_of_classes_is_measured_whole(bundle: Path, tmp_path: Path, paths: Paths) -> None:
    data = write_class_folders(tmp_path / "data", {"red": 2, "green": 3})
    write_image(data / "red" / "mislabelled.png", "green", 40)
    activities: list[str] = []
    found = evaluate(bundle, data, paths=paths, progress=lambda activity, done, total: activities.append(activity))
    assert (found.classes, len(found.labels)) == (CLASSES, 6)
    assert found.scores()["accuracy"] == pytest.approx(5 / 6)
    assert [row["path"] for row in found.mistakes()] == ["red/mislabelled.png"]
    assert activities


def test_of_data_with_splits_the_test_split_is_measured(bundle: Path, tmp_path: Path, paths: Paths) -> None:
    for split, count in (("valid", 1), ("test", 2)):
        write_class_folders(tmp_path / "data" / split, {"red": count, "green": count})
    assert len(evaluate(bundle, tmp_path / "data", paths=paths).labels) == 4
    assert len(evaluate(bundle, tmp_path / "data", split="valid", paths=paths).labels) == 2
    with pytest.raises(BadChoice, match="Allowed: valid, test"):
        evaluate(bundle, tmp_path / "data", split="train", paths=paths)


def test_a_class_that_the_model_does_not_know_is_refused(bundle: Path, tmp_path: Path, paths: Paths) -> None:
    data = write_class_folders(tmp_path / "data", {"red": 1, "green": 1})
    (data / "green").rename(data / "gren")
    with pytest.raises(BadData, match=r"'gren' is not among the 4 classes of the model.*Did you mean green"):
        evaluate(bundle, data, paths=paths)
    assert len(evaluate(bundle, data, paths=paths, ignore_class=["gren"]).labels) == 1


def test_bad_images_follow_the_policy(bundle: Path, tmp_path: Path, paths: Paths) -> None:
    data = write_class_folders(tmp_path / "data", {"red": 1, "green": 1})
    (data / "red" / "empty.png").write_bytes(b"")
    assert len(evaluate(bundle, data, paths=paths).labels) == 2
    with pytest.raises(BadData, match=r"empty\.png"):
        evaluate(bundle, data, paths=paths, on_bad="fail")
