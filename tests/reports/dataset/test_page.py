from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clearsight.reports.dataset.page import GROUPS_SHOWN, DatasetPage, DatasetReportData, images_to_show
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
    assert set(images_to_show(audit)) == {path for path, _ in scenes[:9]}
    many = {**CLEAN, "duplicates": [[f"{i}/{j}" for j in range(50)] for i in range(500)]}
    paths = images_to_show(many)
    assert len(paths) == GROUPS_SHOWN * 6
    assert set(paths) >= {"0/0", f"{GROUPS_SHOWN - 1}/5"}


def test_large_audits_stay_small(scenes: list[tuple[str, str]]) -> None:
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
    page = html(large, dict.fromkeys(paths, scenes[0][1]))
    assert len(page.encode()) < 8_000_000
    assert "370 more groups are not shown" in page


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
