from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from clearsight.reports.facts import RunFacts
from clearsight.reports.page import SECTIONS, run_page
from tests.reports.conftest import HOSTILE, Opened, evaluated, trained
from tests.reports.outline import Outline

MB = 1_000_000


@pytest.fixture(scope="module")
def page(facts: RunFacts) -> str:
    return run_page(facts)


def test_sections_stand_in_the_order_of_reading(page: str) -> None:
    titles = [text for level, text in Outline(page).headings if level == 2]
    assert titles == ["Verdict", "Training", "Evaluation", "Data", "Provenance"]
    assert len(titles) == len(SECTIONS)


def test_headings_never_skip_a_level(page: str) -> None:
    levels = [level for level, _ in Outline(page).headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_it_can_be_used_without_eyes_and_without_a_mouse(page: str) -> None:
    seen = Outline(page)
    assert all(cell["scope"] in ("col", "row") for cell in seen.all("th"))
    assert len(seen.all("caption")) == len(seen.all("table"))
    assert all(image["alt"] for image in seen.all("img"))
    charts = [tag for tag in seen.all("div") if tag.get("class") == "chart"]
    assert len(charts) == 9
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert len(seen.all("details")) >= len(charts) == sum("as a table" in part for part in seen.text.split("\n"))
    assert all(tag["tabindex"] == "0" for tag in seen.all("div") if tag.get("class") == "scroll")
    assert {"lang": "en"} in seen.all("html")


def test_keys_on_the_page_are_unique_and_links_lead_somewhere(page: str) -> None:
    seen = Outline(page)
    keys = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(keys) == len(set(keys))
    assert all((link["href"] or "").removeprefix("#") in keys for link in seen.all("a"))


def test_it_loads_nothing_from_anywhere(page: str) -> None:
    assert all(address.startswith("data:") for address in Outline(page).loads())
    assert "@import" not in page.split("</style>")[0]
    assert "url(" not in page.split("</style>")[0]


def test_the_same_run_gives_the_same_bytes(facts: RunFacts, page: str) -> None:
    assert run_page(facts) == page


def test_a_run_that_knows_nothing_has_a_page() -> None:
    seen = Outline(run_page(RunFacts(name="r", status="running")))
    assert [text for level, text in seen.headings if level == 2] == ["Verdict"]


def test_names_are_text_wherever_they_stand(hostile: RunFacts, facts: RunFacts, page: str) -> None:
    seen, usual = Outline(run_page(hostile)), Outline(page)
    assert {name for name, _ in seen.tags} <= {name for name, _ in usual.tags} | {"span"}
    assert len(seen.all("script")) == len(usual.all("script"))
    assert not [key for _, attributes in seen.tags for key in attributes if key.startswith("on")]
    assert all(name in seen.text for name in HOSTILE)
    assert "<svg onload=alert(6)>" in seen.text


def test_only_pictures_inside_the_page_are_shown(hostile: RunFacts) -> None:
    (image,) = Outline(run_page(hostile)).all("img")
    assert image == {"src": 'data:image/png;base64,"onerror="alert(8)', "alt": "Picture 'onerror='x"}


def test_large_runs_stay_small(facts: RunFacts) -> None:
    names = tuple(f"class {i}" for i in range(1000))
    matrix = np.random.default_rng(0).multinomial(50, [0.9] + [0.1 / 999] * 999, size=1000)
    matrix = np.array([np.roll(row, i) for i, row in enumerate(matrix)])
    epochs, steps = trained(epochs=300, steps=300)
    large = replace(
        facts,
        data={**facts.data, "classes": list(names), "counts": {"train": dict.fromkeys(names, 1300)}},
        evaluation=evaluated(names, matrix),
        epochs=epochs,
        steps=steps,
        mistakes=list(facts.mistakes) * 500,
        notices=[{"code": "bad-image", "text": "bad", "paths": [f"folder/{i}.jpg" for i in range(100_000)]}],
    )
    assert len(run_page(large).encode()) < 7 * MB


def colours(opened: Opened) -> np.ndarray:
    picture = Image.open(io.BytesIO(opened.page.screenshot(full_page=True))).convert("RGB")
    return np.asarray(picture)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_it_offline_and_without_complaint(
    page: str, opened: Callable[..., Opened], scheme: str
) -> None:
    seen = opened(page, color_scheme=scheme)
    assert seen.said == []
    assert seen.asked == []
    assert seen.page.locator(".js-plotly-plot").count() == 9
    assert seen.page.locator(".js-plotly-plot .main-svg").count() >= 9
    pixels = colours(seen)
    paper = pixels[2, 2].astype(int)
    assert (paper.mean() < 60) == (scheme == "dark")
    differing = (abs(pixels.astype(int) - paper).max(axis=2) > 40).mean()
    assert differing > 0.03


def test_charts_follow_the_theme_while_the_page_is_open(page: str, opened: Callable[..., Opened]) -> None:
    seen = opened(page, color_scheme="light")
    line = seen.page.locator("#epoch-loss .js-line").first
    before = line.evaluate("node => getComputedStyle(node).stroke")
    seen.page.emulate_media(color_scheme="dark")
    after = line.evaluate("node => getComputedStyle(node).stroke")
    assert (before, after) == ("rgb(0, 114, 178)", "rgb(86, 180, 233)")


def test_a_phone_need_not_scroll_sideways(page: str, opened: Callable[..., Opened]) -> None:
    seen = opened(page, color_scheme="light")
    seen.page.set_viewport_size({"width": 390, "height": 800})
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_every_class_of_a_full_matrix_keeps_its_name(facts: RunFacts, opened: Callable[..., Opened]) -> None:
    for classes in (12, 30):
        names = tuple(f"{i:03}.a breed of dog" for i in range(classes))
        wide = replace(facts, evaluation=evaluated(names, np.eye(classes, dtype=int) * 6))
        ticks = opened(run_page(wide)).page.locator("#confusion .xtick text, #confusion .x2tick text")
        seen = [tick for tick in ticks.all() if tick.evaluate("node => getComputedStyle(node).display") != "none"]
        assert [tick.text_content() for tick in seen] == list(names)


def test_hostile_names_do_nothing_in_a_browser(hostile: RunFacts, opened: Callable[..., Opened]) -> None:
    seen = opened(run_page(hostile))
    assert seen.asked == []
    assert not [said for said in seen.said if "alert" in said]
    ticks = seen.page.locator("#confusion .ytick text").all_text_contents()
    assert "<script>alert(1)</script>" in ticks
    assert "a&lt;b" in ticks
