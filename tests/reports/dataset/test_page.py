from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clearsight.reports.dataset.page import GROUPS_SHOWN, data_page, images_wanted
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


@pytest.fixture(scope="module")
def page(audit: dict[str, Any], scenes: list[tuple[str, str]]) -> str:
    return data_page(audit, dict(scenes), name="intel-scenes")


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


def test_what_is_not_there_is_not_shown() -> None:
    page = data_page(CLEAN, {})
    assert sections(page) == ["Overview", "Classes"]
    assert "Nothing to warn about." in page


def test_data_without_labels_has_a_page() -> None:
    bare = {**CLEAN, "classes": [], "splits": {"predict": {"": 5}}, "imbalance": None}
    assert sections(data_page(bare, {})) == ["Overview"]


def test_leaks_stand_side_by_side_with_their_splits(page: str, scenes: list[tuple[str, str]]) -> None:
    leaks = page.split('id="leaks"')[1].split("</section>")[0]
    seen = Outline(leaks.partition(">")[2])
    assert [image["src"] for image in seen.all("img")] == [uri for _, uri in scenes[5:7]]
    assert "train" in seen.text
    assert "looks the same" in seen.text


def test_a_image_without_thumbnail_is_named(audit: dict[str, Any], scenes: list[tuple[str, str]]) -> None:
    seen = Outline(data_page(audit, {}))
    assert not seen.all("img")
    assert scenes[0][0] in seen.text


def test_corrupt_files_stand_with_their_reason(page: str) -> None:
    assert "seg_train/sea/9.jpg" in page
    assert "the file is truncated after 1,024 bytes" in page


def test_sizes_are_told_in_words_too(page: str) -> None:
    text = Outline(page).text
    assert "795 images smaller than the model's input of 224 pixels" in text
    assert "2048+" in text
    assert "150 × 110" in text


def test_only_images_that_are_shown_are_wanted(audit: dict[str, Any], scenes: list[tuple[str, str]]) -> None:
    assert set(images_wanted(audit)) == {path for path, _ in scenes[:9]}
    many = {**CLEAN, "duplicates": [[f"{i}/{j}" for j in range(50)] for i in range(500)]}
    wanted = images_wanted(many)
    assert len(wanted) == GROUPS_SHOWN * 6
    assert set(wanted) >= {"0/0", f"{GROUPS_SHOWN - 1}/5"}


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
    page = data_page(large, dict.fromkeys(paths, scenes[0][1]))
    assert len(page.encode()) < 8_000_000
    assert "370 more groups are not shown" in page


def test_names_and_paths_are_text() -> None:
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
    seen = Outline(data_page(bad, {name: "javascript:alert(1)"}, name=name))
    assert len(seen.all("script")) == 3  # one figure, the library, and what draws
    assert not seen.all("img")
    assert seen.text.count(name) >= 6


def test_a_browser_draws_it_offline_and_without_complaint(page: str, opened: Callable[..., Opened]) -> None:
    seen = opened(page)
    assert seen.said == []
    assert seen.asked == []
    assert seen.page.locator(".js-plotly-plot").count() == 2
    assert seen.page.locator("#counts .ytick text").count() == len(SCENES)
