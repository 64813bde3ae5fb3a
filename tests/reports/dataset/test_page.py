from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clearsight.reports.dataset.page import (
    CLASSES_SHOWN,
    GROUPS_SHOWN,
    THUMBNAIL,
    DatasetPage,
    DatasetReportData,
    images_to_show,
)
from clearsight.reports.kit.thumbnail import thumbnail
from tests.reports.conftest import HOSTILE, SCENES, Opened
from tests.reports.outline import Outline

CLEAN: dict[str, Any] = {
    "classes": ["a", "b"],
    "splits": {"train": {"a": 3, "b": 3}},
    "imbalance": 1.0,
    "corrupt": [],
    "duplicates": [],
    "leaks": [],
    "warnings": [],
}


def html(audit: dict[str, Any], thumbnails: dict[str, str] | None = None, name: str = "Dataset") -> str:
    return DatasetPage(DatasetReportData(audit=audit, thumbnails=thumbnails or {}, name=name)).render()


@pytest.fixture(scope="module")
def page(audit: dict[str, Any], scenes: list[tuple[str, str]]) -> str:
    return html(audit, dict(scenes), name="intel-scenes")


def sections(page: str) -> list[str]:
    return [text for level, text in Outline(page).headings if level == 2]


def test_warnings_stand_on_top_and_every_fault_has_its_section(page: str, audit: dict[str, Any]) -> None:
    assert sections(page) == [
        "Overview",
        "Classes",
        "Sizes",
        "Unreadable",
        "Leaks",
        "Conflicting labels",
        "Exact copies",
        "Near copies",
    ]
    text = Outline(page).text
    assert text.index(audit["warnings"][0]["text"]) < text.index("Images per class and split")


def test_a_section_without_content_is_left_out() -> None:
    page = html(CLEAN)
    assert sections(page) == ["Overview", "Classes"]
    assert "There are no warnings." in page


def test_data_without_labels_has_a_page() -> None:
    bare = {**CLEAN, "classes": [], "splits": {"predict": {"": 5}}, "imbalance": None}
    assert sections(html(bare)) == ["Overview"]


def test_leaks_stand_side_by_side_with_their_splits(page: str, scenes: list[tuple[str, str]]) -> None:
    leaks = page.split('id="leaks"')[1].split("</section>")[0]
    seen = Outline(leaks.partition(">")[2])
    assert [image["src"] for image in seen.all("img")] == [uri for _, uri in scenes[5:7]]
    assert "train" in seen.text
    assert "looks the same" in seen.text


def test_an_image_without_thumbnail_is_shown_by_its_path(audit: dict[str, Any], scenes: list[tuple[str, str]]) -> None:
    seen = Outline(html(audit))
    assert not seen.all("img")
    assert scenes[0][0] in seen.text


def test_corrupt_files_stand_with_their_reason(page: str) -> None:
    assert "seg_train/sea/9.jpg" in page
    assert "the file is truncated after 1,024 bytes" in page


def test_sizes_are_text_too(page: str) -> None:
    text = Outline(page).text
    assert "795 images are smaller than the model's input of 224 pixels and will be enlarged." in text
    assert "2048+" in text
    assert "150 × 110" in text


def test_only_images_that_are_shown_need_a_thumbnail(audit: dict[str, Any], scenes: list[tuple[str, str]]) -> None:
    assert set(images_to_show(DatasetReportData(audit=audit))) == {path for path, _ in scenes[:9]}
    many = {**CLEAN, "duplicates": [[f"{i}/{j}" for j in range(50)] for i in range(500)]}
    shown = {"examples": {"a": ["a/1", "a/2"]}, "extremes": {"Darkest": [("night", "gray 3")]}}
    paths = images_to_show(DatasetReportData(audit=many, **shown))
    assert len(paths) == GROUPS_SHOWN * 4 + 3
    assert set(paths) >= {"0/0", f"{GROUPS_SHOWN - 1}/3", "a/2", "night"}


def test_large_audits_stay_small(shared: Path) -> None:
    photograph = Image.open(next((shared / "data" / "intel-scenes" / "seg_test" / "street").iterdir())).convert("RGB")
    names = [f"class {i}" for i in range(1000)]
    paths = [f"folder/{i}.jpg" for i in range(40_000)]
    large = {
        **CLEAN,
        "classes": names,
        "splits": {"train": dict.fromkeys(names, 40)},
        "corrupt": [{"path": path, "reason": "truncated"} for path in paths],
        "duplicates": [paths[i : i + 100] for i in range(0, 40_000, 100)],
        "near_duplicates": [paths[i : i + 2] for i in range(0, 40_000, 2)],
        "conflicts": [paths[i : i + 100] for i in range(0, 40_000, 100)],
        "leaks": [{"paths": paths[i : i + 2], "splits": ["train", "test"], "exact": True} for i in range(0, 40_000, 2)],
    }
    report = DatasetReportData(
        audit=large,
        examples={name: paths[2 * i : 2 * i + 2] for i, name in enumerate(names)},
        extremes={title: [(path, "1 × 1") for path in paths[:8]] for title in ("Smallest", "Largest", "Darkest")},
        thumbnails=dict.fromkeys(paths, thumbnail(np.asarray(photograph), THUMBNAIL)),
    )
    page = DatasetPage(report).render()
    assert len(page.encode()) < 2_500_000
    assert "390 more groups are not shown" in page
    assert f"Shown are the {CLASSES_SHOWN} rarest of 1,000 classes." in page


def test_each_class_and_each_extreme_is_shown_by_images(scenes: list[tuple[str, str]]) -> None:
    paths = [path for path, _ in scenes]
    report = DatasetReportData(
        audit=CLEAN,
        examples={"a": paths[:3], "b": paths[3:5]},
        extremes={"Darkest": [(paths[5], "mean gray 3 of 255")]},
        thumbnails=dict(scenes),
    )
    outline = Outline(DatasetPage(report).render())
    shown = [image for image in outline.all("img") if str(image["src"]).startswith("data:image/jpeg")]
    assert [image["alt"] for image in shown] == [f"Image {path}" for path in paths[:6]]
    assert {"a", "b", "Darkest"} <= {text.strip() for _, text in outline.headings}
    assert "mean gray 3 of 255" in outline.text


def test_names_and_paths_are_never_markup() -> None:
    name = HOSTILE[0]
    leak = {"paths": [name, HOSTILE[1]], "splits": ["train", "test"], "exact": True}
    bad = {
        **CLEAN,
        "classes": list(HOSTILE),
        "splits": {"train": dict.fromkeys(HOSTILE, 2)},
        "corrupt": [{"path": name, "reason": name}],
        "leaks": [leak],
        "warnings": [{"code": name, "text": name}],
    }
    seen = Outline(html(bad, {name: "javascript:alert(1)"}, name=name))
    assert len(seen.all("script")) == 3  # one figure, the library, and what draws
    assert not seen.all("img")
    assert seen.text.count(name) >= 6


def test_a_browser_draws_it_offline_and_without_complaint(page: str, opened: Callable[..., Opened]) -> None:
    seen = opened(page)
    assert seen.messages == []
    assert seen.requests == []
    assert seen.page.locator(".js-plotly-plot").count() == 2
    assert seen.page.locator("#counts .ytick text").count() == len(SCENES)
