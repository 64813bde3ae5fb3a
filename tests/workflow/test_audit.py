"""`audit` reads every image of a dataset once and writes its result as JSON or as a page with thumbnails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from clearsight.core.errors import BadData
from clearsight.workflow.audit import audit, class_examples, extreme_images
from clearsight.workflow.paths import Paths
from tests.workflow.colour_images import write_class_folders


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(cache=tmp_path / "cache", weights=())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_class_folders(tmp_path / "data", {"red": 8, "green": 8})


def test_counts_bad_files_and_small_images(data: Path, paths: Paths) -> None:
    (data / "red" / "empty.png").write_bytes(b"")
    values = audit(data, paths=paths).to_json()
    assert [bad["path"] for bad in values["corrupt"]] == ["red/empty.png"]
    assert sum(sum(counts.values()) for counts in values["splits"].values()) == 17
    assert len(values["small"]) == 16  # below the 224 px of most networks
    assert audit(data, paths=paths, image_size=24).to_json()["small"] == []


def test_settings_choose_classes_and_limits(data: Path, paths: Paths) -> None:
    write_class_folders(data, {"weiß": 8})
    assert audit(data, paths=paths, ignore_class=["weiß"]).to_json()["classes"] == ["green", "red"]
    assert len(audit(data, paths=paths, max_pixels=24 * 24).to_json()["corrupt"]) == 21  # all but one of each class


def test_the_page_has_thumbnails_of_duplicates_and_no_local_paths(data: Path, paths: Paths, tmp_path: Path) -> None:
    shutil.copy(data / "red" / "0.png", data / "red" / "copy.png")
    page = tmp_path / "out" / "page.html"
    page.parent.mkdir()
    audit(data, paths=paths).write_page(page)
    text = page.read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in text
    assert str(tmp_path) not in text


def test_the_page_shows_each_class_and_the_extremes(data: Path, paths: Paths, tmp_path: Path) -> None:
    Image.new("RGB", (80, 40), "black").save(data / "red" / "night.png")
    Image.new("RGB", (8, 8), "white").save(data / "green" / "snow.png")
    audited = audit(data, paths=paths)
    examples = class_examples(audited.dataset, audited.scan)
    assert {name: len(ids) for name, ids in examples.items()} == {"green": 8, "red": 8}
    extremes = extreme_images(audited.scan)
    assert {title: row[0] for title, row in extremes.items()} == {
        "Smallest": ("green/snow.png", "8 × 8"),
        "Largest": ("red/night.png", "80 × 40"),
        "Darkest": ("red/night.png", "mean gray 0 of 255"),
        "Brightest": ("green/snow.png", "mean gray 255 of 255"),
    }


def test_an_unreadable_image_is_no_example(data: Path, paths: Paths) -> None:
    (data / "red" / "empty.png").write_bytes(b"")
    audited = audit(data, paths=paths)
    assert "red/empty.png" not in class_examples(audited.dataset, audited.scan)["red"]


def test_images_of_one_size_have_no_smallest(data: Path, paths: Paths) -> None:
    for image in sorted(data.glob("*/*.png")):
        Image.open(image).resize((24, 24)).save(image)
    assert not {"Smallest", "Largest"} & set(extreme_images(audit(data, paths=paths).scan))


def test_an_empty_folder_is_refused(tmp_path: Path, paths: Paths) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match="empty"):
        audit(tmp_path / "empty", paths=paths)
