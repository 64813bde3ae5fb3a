"""Predictions are a list with a table, files and images."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.errors import BadValue, EmptyInput
from clearsight.core.files import read_json
from clearsight.testing.mean_colour import CLASSES, make_bundle
from clearsight.workflow.predict import predict
from clearsight.workflow.results.predictions import Prediction, Predictions
from tests.workflow.colour_images import write_image


@pytest.fixture
def found(tmp_path: Path) -> Predictions:
    good, bad = write_image(tmp_path / "<b>.png", "green"), tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    return predict(make_bundle(tmp_path / "bundle").path, [good, bad])


def test_the_table_has_a_column_per_class_and_the_reason_of_an_error(found: Predictions, tmp_path: Path) -> None:
    with found.write_csv(tmp_path / "deep" / "p.csv").open(encoding="utf-8", newline="") as file:
        good, bad = csv.DictReader(file)
    assert list(good) == ["path", "label", "probability", *(f"p:{name}" for name in CLASSES), "error"]
    assert good["label"] == "green"
    assert float(good["p:green"]) == pytest.approx(found[0].probability, rel=1e-5)
    assert sum(float(good[f"p:{name}"]) for name in CLASSES) == pytest.approx(1, abs=1e-4)
    assert (bad["label"], bad["p:green"]) == ("", "")
    assert bad["error"]


def test_a_folder_gets_table_and_json(found: Predictions, tmp_path: Path) -> None:
    found.write(tmp_path / "out")
    assert read_json(tmp_path / "out" / "predictions.json") == [row.to_json() for row in found]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["predictions.csv", "predictions.json"]


def test_features_are_written_as_arrays_or_columns(tmp_path: Path) -> None:
    vectors = np.array([[1, 2, 3], [np.nan, np.nan, np.nan]], np.float32)
    rows = [Prediction(path="a", top=(("x", 1.0),)), Prediction(path="b", error="broken")]
    found = Predictions(rows, (), ("x",), np.array([[1.0], [np.nan]]), vectors)
    with np.load(found.write_embeddings(tmp_path / "e.npz")) as saved:
        assert saved["paths"].tolist() == ["a", "b"]
        np.testing.assert_array_equal(saved["embeddings"], vectors)
    lines = found.write_embeddings(tmp_path / "e.csv").read_text().splitlines()
    assert lines == ["path,e0,e1,e2", "a,1,2,3", "b,nan,nan,nan"]
    with pytest.raises(BadValue, match=r"features are written as .npz or .csv"):
        found.write_embeddings(tmp_path / "e.txt")


def test_features_that_were_not_computed_are_one_sentence(found: Predictions, tmp_path: Path) -> None:
    with pytest.raises(EmptyInput, match="Pass embeddings=True"):
        found.write_embeddings(tmp_path / "e.npz")


def test_the_summary_is_one_screen_and_the_notebook_shows_the_images(found: Predictions) -> None:
    assert "cannot be read" in repr(found)
    html = found._repr_html_()
    assert html.count("data:image/jpeg;base64,") == 1
    assert "&lt;b&gt;.png" in html
    assert "<b>.png" not in html, "names are escaped"
    many = Predictions(list(found) * 40, (), found.classes, found.probabilities)
    assert len(repr(many).splitlines()) == 21


def test_images_are_drawn_with_their_classes(found: Predictions) -> None:
    figure = found.plot()
    assert len(figure.data) == 1
    assert figure.layout.annotations[0].text.startswith("green ")
