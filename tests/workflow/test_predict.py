"""Paths, folders and globs on the command line are resolved to image files."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.errors import EmptyInput, NotFound
from clearsight.testing.mean_colour import CLASSES, make_bundle
from clearsight.workflow.predict import predict
from clearsight.workflow.prepare.inputs import find_images
from clearsight.workflow.results.predictions import Prediction
from tests.workflow.colour_images import write_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "deep/c [1].jpeg", "deep/notes.txt", ".hidden/d.jpg", "deep/.e.jpg", "plain"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_folder_means_the_images_below_it(folder: Path) -> None:
    assert names(find_images([folder])) == ["a.png", "b.JPG", "c [1].jpeg"]


def test_a_named_file_is_included_whatever_its_name(folder: Path) -> None:
    assert names(find_images([folder / "plain", folder / "deep/notes.txt"])) == ["plain", "notes.txt"]


def test_a_file_with_brackets_is_a_file_before_it_is_a_glob(folder: Path) -> None:
    assert names(find_images([folder / "deep" / "c [1].jpeg"])) == ["c [1].jpeg"]


def test_globs_and_repetitions(folder: Path) -> None:
    assert names(find_images([str(folder / "**" / "*.jpeg"), folder, folder / "a.png"])) == [
        *("c [1].jpeg", "a.png", "b.JPG"),
    ]


def test_paths_without_images_are_errors(folder: Path) -> None:
    with pytest.raises(NotFound, match="no such file, folder or glob match"):
        find_images([folder / "*.webp"])
    (folder / "empty").mkdir()
    with pytest.raises(EmptyInput, match="no image there"):
        find_images([folder / "empty"])


def test_predictions_keep_the_order_of_the_files_and_errors_their_place(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle").path
    files = [write_image(tmp_path / f"{number}.png", colour) for number, colour in enumerate(("green", "red") * 20)]
    files[1].write_bytes(b"no image")
    progress: list[tuple[int, int]] = []
    predictions = predict(bundle, files, top=2, progress=lambda activity, done, total: progress.append((done, total)))
    assert [prediction.path for prediction in predictions] == [str(file) for file in files]
    assert [prediction.top[0][0] for prediction in predictions[2:]] == ["green", "red"] * 19
    assert all(len(prediction.top) == 2 for prediction in predictions[2:])
    assert predictions[1].top == ()
    assert predictions[1].error
    assert progress[-1] == (40, 40)
    assert {label for prediction in predictions for label, _ in prediction.top} <= set(CLASSES)


def test_the_json_of_an_error_has_the_keys_of_a_prediction() -> None:
    good, bad = Prediction(path="a", top=(("cat", 0.9),)), Prediction(path="b", error="it is truncated")
    assert good.to_json().keys() == bad.to_json().keys()
    assert bad.to_json() == {"path": "b", "label": None, "probability": None, "top": [], "error": "it is truncated"}
