"""Labels of real images checked by the features of a pretrained network: of a dataset, and within a training."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clearsight.core.dataset import Dataset
from clearsight.core.errors import BadData, BadValue, WeightsUnavailable
from clearsight.core.finding import Finding, read_findings
from clearsight.core.recipe import Recipe
from clearsight.data.scan import drop_bad_images
from clearsight.workflow.audit import audit
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import list_dataset, quiet, scan_dataset
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.label_check import check_by_features
from clearsight.workflow.train import train
from tests.workflow.colour_images import write_class_folders

SIZE = 96  # pixels: small, so that the features of all images take a few seconds


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Return paths that all tests share, so that features are computed once."""
    return Paths(cache=tmp_path_factory.mktemp("cache"), weights=())


@pytest.fixture(scope="module")
def recipe(real_weights: Path) -> Recipe:
    return Recipe().replace(weights=str(real_weights), image_size=SIZE, limit=500)


@pytest.fixture(scope="module")
def data(scenes: Path, recipe: Recipe, paths: Paths) -> Dataset:
    listed = list_dataset(scenes, recipe.data, 0)
    return drop_bad_images(listed, scan_dataset(listed, recipe.data, paths), "skip")


def exchanged(data: Dataset, share: float) -> tuple[Dataset, set[str]]:
    """Return the data with a share of the labels replaced by another class, and the ids of those images."""
    rng = np.random.default_rng(0)
    labelled = [sample for sample in data.samples if sample.label is not None]
    rows = rng.permutation(len(labelled))[: round(share * len(labelled))]
    for row in rows:
        label = labelled[row].label
        assert label is not None
        labelled[row] = replace(labelled[row], label=(label + int(rng.integers(1, 6))) % 6)
    return replace(data, samples=tuple(labelled)), {labelled[row].id for row in rows}


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_exchanged_labels_of_scenes_are_found(share: float, data: Dataset, recipe: Recipe, paths: Paths) -> None:
    noisy, wrong = exchanged(data, share)
    check = check_by_features(noisy, recipe, paths, quiet).labels
    assert check.noisy
    assert sum(suspect.path in wrong for suspect in check.suspects[:10]) >= 8


def test_labels_of_scenes_are_clean(data: Dataset, recipe: Recipe, paths: Paths) -> None:
    check = check_by_features(data, recipe, paths, quiet).labels
    assert not check.noisy
    assert check.share < 0.1
    assert check.accuracy > 0.7


def test_the_audit_names_the_wrong_labels_and_the_page_shows_them(
    scenes: Path, tmp_path: Path, real_weights: Path, paths: Paths
) -> None:
    table = write_table(scenes, tmp_path, share=0.3)
    found = audit(table, paths=paths, label_errors=True, weights=str(real_weights), image_size=SIZE)
    values = found.to_json()
    assert values["label_errors"]["noisy"] is True
    assert "label-noise" in [warning["code"] for warning in values["warnings"]]
    found.write_page(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    worst = values["label_errors"]["suspects"][0]
    assert f"given {worst['given']}, likely {worst['likely']}" in page


def test_a_crop_of_a_training_image_in_another_split_is_similar(
    scenes: Path, tmp_path: Path, real_weights: Path, paths: Paths
) -> None:
    rows = table_rows(scenes, per_class=30, share=0.0)
    names = [str(path) for path, _ in rows[::30]]
    splits = {path: "train" for path, _ in rows}
    for number, name in enumerate(names):
        cropped = Image.open(name).crop((4, 4, 146, 146))
        cropped.save(tmp_path / f"{number}.png")
        rows.append((tmp_path / f"{number}.png", rows[0][1]))
    table = write_rows(tmp_path, [(path, label, splits.get(path, "test")) for path, label in rows])
    found = audit(table, paths=paths, label_errors=True, weights=str(real_weights), image_size=SIZE)
    originals = {f"{number}.png": name for number, name in enumerate(names)}
    pairs = {Path(later).name: train for train, later in (pair["paths"] for pair in found.to_json()["similar"])}
    crops = {name: train for name, train in pairs.items() if name in originals}
    assert len(crops) >= 3  # of 6: the limit is where unrelated images begin
    assert all(Path(train).name == Path(originals[name]).name for name, train in crops.items())
    assert len(pairs) - len(crops) <= 2  # unrelated images of the validation split, of which one in 100 is expected


@pytest.mark.parametrize(("share", "expected"), [(0.4, True), (0.0, False)])
def test_training_on_cached_features_finds_exchanged_labels(
    share: float, expected: bool, scenes: Path, tmp_path: Path, real_weights: Path, paths: Paths
) -> None:
    table = write_table(scenes, tmp_path, share)
    settings = {"weights": str(real_weights), "image_size": SIZE, "freeze": "backbone", "epochs": 1, "profile": "off"}
    run = train(table, recipe=Recipe().replace(**settings), out=tmp_path / "run", launch=LaunchContext(paths=paths))
    finding = label_noise(read_findings(run.files.findings))
    assert finding.found is expected
    if expected:
        assert "frozen features" in finding.cause
        assert finding.value is not None
        assert finding.value > 0.15


def label_noise(findings: list[Finding]) -> Finding:
    return next(finding for finding in findings if finding.rule == "LabelNoise")


def table_rows(scenes: Path, per_class: int, share: float) -> list[tuple[Path, str]]:
    """Return paths and labels of training scenes, a share of them with another class."""
    folders = sorted((scenes / "seg_train").iterdir())
    rng, names = np.random.default_rng(0), [folder.name for folder in folders]
    rows = [(path, folder.name) for folder in folders for path in sorted(folder.iterdir())[:per_class]]
    for row in rng.permutation(len(rows))[: round(share * len(rows))]:
        path, name = rows[row]
        rows[row] = (path, names[(names.index(name) + int(rng.integers(1, 6))) % 6])
    return rows


def write_rows(folder: Path, rows: list[tuple[Path, str, str]]) -> Path:
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return folder / "labels.csv"


def write_table(scenes: Path, folder: Path, share: float) -> Path:
    rows = table_rows(scenes, per_class=48, share=share)
    return write_rows(
        folder, [(path, name, "valid" if row % 6 == 0 else "train") for row, (path, name) in enumerate(rows)]
    )


@pytest.mark.parametrize("settings", [{"weights": "none"}, {"model": "tiny"}])
def test_random_weights_are_refused(settings: dict[str, str], tmp_path: Path, paths: Paths) -> None:
    data = write_class_folders(tmp_path / "data", {"red": 8, "green": 8})
    with pytest.raises(BadValue, match=r"random weights say nothing about labels.* Pass --weights FILE"):
        audit(data, paths=paths, label_errors=True, **settings)


def test_missing_weights_are_reported_with_what_to_do(tmp_path: Path, paths: Paths) -> None:
    data = write_class_folders(tmp_path / "data", {"red": 8, "green": 8})
    with pytest.raises(WeightsUnavailable, match="pass --weights FILE") as caught:
        audit(data, paths=paths, label_errors=True, model="timm/resnet18")
    assert "none" not in caught.value.fix


def test_data_without_labels_cannot_be_checked(scenes: Path, tmp_path: Path, real_weights: Path, paths: Paths) -> None:
    folder = scenes / "seg_train" / "forest"
    table = write_rows(
        tmp_path, [(path, "forest" if row else "sea", "train") for row, path in enumerate(sorted(folder.iterdir())[:9])]
    )
    with pytest.raises(BadData, match="two classes with 4 labelled images"):
        audit(table, paths=paths, label_errors=True, weights=str(real_weights), image_size=SIZE)


def test_a_model_without_the_check_is_refused(tmp_path: Path, paths: Paths) -> None:
    data = write_class_folders(tmp_path / "data", {"red": 8, "green": 8})
    with pytest.raises(BadValue, match="Add --label-errors"):
        audit(data, paths=paths, model="resnet50")
