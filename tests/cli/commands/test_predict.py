"""clearsight predict classifies files and datasets, and writes tables and features."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from clearsight.cli import main
from clearsight.testing.mean_colour import make_bundle
from tests.workflow.colour_images import write_class_folders, write_image


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(make_bundle(tmp_path / "bundle").path)


def test_a_split_of_a_dataset_becomes_a_table(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], shared: Path
) -> None:
    lesions, table = shared / "data" / "isic-2024" / "test-image.hdf5", tmp_path / "p.csv"
    assert main(["predict", model, str(lesions), "--csv", str(table), "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"written  {table}, {tmp_path / 'out'}"
    with table.open(encoding="utf-8", newline="") as file:
        names = [row["path"] for row in csv.DictReader(file)]
    assert len(names) == 3
    assert all(name.startswith("ISIC_") for name in names)
    assert (tmp_path / "out" / "predictions.json").is_file()


def test_the_settings_of_datasets_are_flags(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_class_folders(tmp_path / "photos" / "test", {"green": 3, "red": 2})
    words = ["predict", model, str(tmp_path / "photos"), "--split", "test", "--ignore-class", "red", "--limit", "2"]
    assert main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_wrong_file_of_features_is_said_before_the_work(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_image(tmp_path / "a.png", "green")
    assert main(["predict", model, str(image), "--embeddings", "e.txt"]) == 2
    assert "features are written as .npz or .csv. Name it features.npz." in capsys.readouterr().err


def test_a_split_that_is_not_there_gets_those_that_are(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_class_folders(tmp_path / "photos" / "test", {"green": 1})
    assert main(["predict", model, str(tmp_path / "photos"), "--split", "predict"]) == 2
    assert "has no such split. Allowed: test." in capsys.readouterr().err
