from __future__ import annotations

import io
import itertools
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clearsight.core.finding import Finding, Series
from clearsight.reports.kit.document import render_document
from clearsight.reports.run.evaluation import evaluation
from clearsight.reports.run.page import RunPage
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.training import training
from clearsight.workflow.display.pdf import BROWSERS, print_pdf
from tests.reports.conftest import HOSTILE, Opened, evaluated, trained
from tests.reports.outline import Outline
from tests.reports.watched import busy_gpus, curve, found
from tests.workflow.pdf_text import pages, text

MB = 1_000_000


@pytest.fixture(scope="module")
def page(watched: RunReportData) -> str:
    return RunPage(watched).render()


@pytest.fixture(scope="module")
def charts(watched: RunReportData) -> int:
    return sum(len(section.panels) for section in RunPage(watched).sections)


def test_sections_are_in_the_order_of_reading(page: str) -> None:
    titles = [text for level, text in Outline(page).headings if level == 2]
    assert titles == ["Verdict", "Findings", "Training", "Evaluation", "Data", "System", "Rules", "Provenance"]
    assert len(titles) == len(RunPage.SECTIONS)


def test_headings_never_skip_a_level(page: str) -> None:
    levels = [level for level, _ in Outline(page).headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_a_screen_reader_and_a_keyboard_can_use_it(page: str, charts: int) -> None:
    seen = Outline(page)
    assert all(cell["scope"] in ("col", "row") for cell in seen.all("th"))
    assert len(seen.all("caption")) == len(seen.all("table"))
    assert all(image["alt"] for image in seen.all("img"))
    drawn = [*(tag for tag in seen.all("div") if tag.get("class") == "chart"), *seen.all("svg")]
    assert len(drawn) == charts + 4
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in drawn)
    assert len(seen.all("details")) >= charts == sum("as a table" in part for part in seen.text.split("\n"))
    assert all(tag["tabindex"] == "0" for tag in seen.all("div") if (tag.get("class") or "").startswith("scroll"))
    assert {"lang": "en"} in seen.all("html")


def test_ids_are_unique_and_links_have_a_target(page: str) -> None:
    seen = Outline(page)
    keys = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(keys) == len(set(keys))
    assert all((link["href"] or "").removeprefix("#") in keys for link in seen.all("a"))


def test_it_loads_nothing(page: str) -> None:
    assert all(address.startswith("data:") for address in Outline(page).loads())
    assert "@import" not in page.split("</style>")[0]
    assert "url(" not in page.split("</style>")[0]


def test_the_same_run_gives_the_same_bytes(watched: RunReportData, page: str) -> None:
    assert RunPage(watched).render() == page


def test_the_json_has_the_sections_of_the_page(watched: RunReportData) -> None:
    page = RunPage(watched)
    values = page.to_json()
    assert (values["name"], values["status"]) == ("scenes-frozen", "completed")
    assert list(values["sections"]) == [section.key for section in page.sections]
    for section in page.sections:
        assert list(values["sections"][section.key]["panels"]) == [panel.key for panel in section.panels]
    assert "Readings while training ran" in values["sections"]["system"]["tables"]
    loss = values["sections"]["curves"]["panels"]["epoch-loss"]
    assert loss["figure"]["data"][0]["y"][0] == watched.epochs[0]["train"]["loss"]


def test_the_json_has_every_finding(watched: RunReportData) -> None:
    values = json.loads(json.dumps(RunPage(watched).to_json()))["findings"]
    assert [Finding.from_json(finding) for finding in values] == list(watched.findings)


def test_the_json_of_broken_numbers_has_null(report: RunReportData) -> None:
    broken = found("A", value=math.inf, evidence=(Series("loss", (1, 2), (math.nan, 1.0)),))
    steps = [{"step": 1, "epoch": 1, "mode": "train", "name": "loss", "value": math.nan}, *report.steps]
    text = json.dumps(RunPage(replace(report, findings=[broken], steps=steps)).to_json(), allow_nan=False)
    assert json.loads(text)["findings"][0]["evidence"][0]["values"] == [None, 1.0]


def test_the_json_of_a_run_without_data_has_a_verdict() -> None:
    values = RunPage(RunReportData(name="r", status="running")).to_json()
    assert values["sections"]["verdict"] == {"title": "Verdict", "panels": {}, "tables": {}}
    assert values["findings"] == []


def test_a_run_without_data_has_a_page() -> None:
    seen = Outline(RunPage(RunReportData(name="r", status="running")).render())
    assert [text for level, text in seen.headings if level == 2] == ["Verdict", "System"]
    assert "--profile off" in seen.text


def test_an_external_loop_has_a_page(external: RunReportData) -> None:
    seen = Outline(RunPage(external).render())
    titles = [text for level, text in seen.headings if level == 2]
    assert titles == ["Verdict", "Findings", "System", "Rules", "Provenance"]
    assert "clearsight profile -- python train.py" in seen.text


def test_names_are_never_markup(hostile: RunReportData, page: str) -> None:
    seen, usual = Outline(RunPage(hostile).render()), Outline(page)
    assert {name for name, _ in seen.tags} <= {name for name, _ in usual.tags} | {"span"}
    charts = sum(len(section.panels) for section in RunPage(hostile).sections)
    assert len(seen.all("script")) == charts + 4  # the library, and what draws, copies and folds
    assert not [key for _, attributes in seen.tags for key in attributes if key.startswith("on")]
    assert all(name in seen.text for name in HOSTILE)
    assert "<svg onload=alert(6)>" in seen.text


def test_only_images_inside_the_page_are_shown(hostile: RunReportData) -> None:
    (image,) = Outline(RunPage(hostile).render()).all("img")
    assert image == {"src": 'data:image/png;base64,"onerror="alert(8)', "alt": "Image 'onerror='x"}


def test_large_runs_stay_small(watched: RunReportData) -> None:
    names = tuple(f"class {i}" for i in range(1000))
    matrix = np.random.default_rng(0).multinomial(50, [0.9] + [0.1 / 999] * 999, size=1000)
    matrix = np.array([np.roll(row, i) for i, row in enumerate(matrix)])
    epochs, steps = trained(epochs=300, steps=300)
    large = replace(
        watched,
        data={**watched.data, "classes": list(names), "counts": {"train": dict.fromkeys(names, 1300)}},
        evaluation=evaluated(names, matrix),
        epochs=epochs,
        steps=steps,
        mistakes=list(watched.mistakes) * 500,
        typical=list(watched.typical) * 500,
        samples=list(watched.samples) * 500,
        findings=[found(f"Rule{i % 300}", evidence=(curve("loss"),)) for i in range(3000)],
        profile=busy_gpus(gpus=8, steps=4000, cores=128),
        notices=[{"code": "bad-image", "text": "bad", "paths": [f"folder/{i}.jpg" for i in range(100_000)]}],
    )
    assert len(RunPage(large).render().encode()) < 7 * MB


def test_an_ordinary_page_is_small(page: str) -> None:
    assert len(page.encode()) < 2.5 * MB


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium or Chrome on this machine to print with")
def test_an_ordinary_run_takes_8_pages_on_paper(watched: RunReportData, tmp_path: Path) -> None:
    # With debugger and profiler; few runs have been tuned and traced as well.
    ordinary = replace(watched, tuning=None, what_if=(), hotlines=())
    (tmp_path / "page.html").write_text(RunPage(ordinary).render(), encoding="utf-8")
    printed = print_pdf(tmp_path / "page.html", tmp_path / "page.pdf").read_bytes()
    assert pages(printed) <= 8
    # The axis title of the last chart is there too: no chart is cut off.
    assert "secondssincethestart" in text(printed)


@pytest.fixture(scope="module")
def light(page: str, opened: Callable[..., Opened]) -> Opened:
    """The page in a browser, once for all tests that leave it as it was."""
    return opened(page, color_scheme="light")


def drawn(seen: Opened) -> tuple[float, float]:
    """Brightness of the background in [0, 255], and the share of the page that differs from it."""
    image = Image.open(io.BytesIO(seen.page.screenshot(full_page=True))).convert("RGB").reduce(4)
    pixels = np.asarray(image).astype(int)
    return float(pixels[1, 1].mean()), float((abs(pixels - pixels[1, 1]).max(axis=2) > 40).mean())


def test_a_browser_draws_it_offline_and_without_complaint(light: Opened, charts: int) -> None:
    assert light.messages == []
    assert light.requests == []
    assert light.page.locator(".js-plotly-plot").count() == charts
    assert light.page.locator(".js-plotly-plot .main-svg").count() >= charts
    paper, inked = drawn(light)
    assert paper > 250
    assert inked > 0.03


_REACHABLE = (
    """[...document.querySelectorAll("a, button, summary, [tabindex='0']")].filter((e) => e.checkVisibility())"""
)


def test_every_control_is_reached_with_the_tab_key(light: Opened) -> None:
    wanted = light.page.evaluate(f"{_REACHABLE}.map((e, i) => {{ e.dataset.n = i; return i; }})")
    reached = []
    for _ in wanted:
        light.page.keyboard.press("Tab")
        reached.append(light.page.evaluate("Number(document.activeElement.dataset.n)"))
    assert reached == wanted


def test_a_fix_can_be_copied_and_folds_are_open_on_paper(light: Opened) -> None:
    light.page.locator(".finding .copy").first.press("Enter")
    assert light.page.evaluate("getSelection().toString()") == "--lr 0.0001 --warmup 0.1"
    assert light.page.locator("details.fold[open]").count() == 0
    light.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert light.page.locator("details.fold:not([open])").count() == 0
    light.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert light.page.locator("details.fold[open]").count() == 0


_NARROW = """new Promise((answer) => {
  const check = () => document.documentElement.scrollWidth <= 390 ? answer(true) : requestAnimationFrame(check);
  setTimeout(() => answer(false), 10000);
  check();
})"""


def test_a_phone_need_not_scroll_sideways(light: Opened) -> None:
    light.page.set_viewport_size({"width": 390, "height": 800})
    assert light.page.evaluate(_NARROW)  # charts follow the window a few frames later
    light.page.set_viewport_size({"width": 1280, "height": 900})


def test_charts_follow_the_theme_while_the_page_is_open(light: Opened) -> None:
    line = light.page.locator("#epoch-loss .js-line").first
    before = line.evaluate("node => getComputedStyle(node).stroke")
    light.page.emulate_media(color_scheme="dark")
    after = line.evaluate("node => getComputedStyle(node).stroke")
    assert (before, after) == ("rgb(0, 114, 178)", "rgb(86, 180, 233)")
    paper, inked = drawn(light)
    assert paper < 60
    assert inked > 0.03
    assert light.messages == []


@pytest.mark.parametrize("classes", [12, 30])
def test_every_class_of_a_large_matrix_keeps_its_name(
    report: RunReportData, opened: Callable[..., Opened], classes: int
) -> None:
    names = tuple(f"{i:03}.a breed of dog" for i in range(classes))
    wide = replace(report, evaluation=evaluated(names, np.eye(classes, dtype=int) * 6), mistakes=())
    section = evaluation(wide)
    assert section is not None
    ticks = opened(render_document(title="t", kind="k", sections=[section])).page.locator(
        "#confusion .xtick text, #confusion .x2tick text"
    )
    shown = ticks.evaluate_all(
        "nodes => nodes.filter((n) => getComputedStyle(n).display != 'none').map((n) => n.textContent)"
    )
    assert shown == list(names)


_ON_PHONE = """({
  page: document.documentElement.scrollWidth,
  chart: document.querySelector("#confusion .chart").clientWidth,
  box: document.querySelector("#confusion .wide-chart").clientWidth,
  cell: document.querySelector("#confusion .heatmaplayer image").getBoundingClientRect().width,
})"""


@pytest.mark.parametrize("classes", [24, 100])
def test_a_large_matrix_is_scrolled_on_a_phone_and_not_squeezed(
    report: RunReportData, opened: Callable[..., Opened], classes: int
) -> None:
    names = tuple(f"{i:03}.a breed of dog" for i in range(classes))
    wide = replace(report, evaluation=evaluated(names, np.eye(classes, dtype=int) * 6), mistakes=())
    section = evaluation(wide)
    assert section is not None
    seen = opened(render_document(title="t", kind="k", sections=[section]))
    seen.page.set_viewport_size({"width": 420, "height": 800})
    assert seen.page.evaluate(_NARROW.replace("390", "420"))
    measured = seen.page.evaluate(_ON_PHONE)
    assert measured["page"] <= 420
    assert measured["chart"] > measured["box"]
    assert measured["cell"] / min(classes, 30) > 14  # pixels: a number of two digits fits


def test_an_accuracy_of_1_ends_the_axis_in_a_browser(report: RunReportData, opened: Callable[..., Opened]) -> None:
    perfect = [{**epoch, "valid": {**epoch["valid"], "accuracy": 1.0}} for epoch in report.epochs]
    section = training(replace(report, epochs=perfect))
    assert section is not None
    seen = opened(render_document(title="t", kind="k", sections=[section]))
    low, high = seen.page.evaluate("document.querySelector('#epoch-accuracy .chart')._fullLayout.yaxis.range")
    assert 0 <= low < 0.7
    assert high == 1


def test_hostile_names_do_nothing_in_a_browser(hostile: RunReportData, opened: Callable[..., Opened]) -> None:
    seen = opened(RunPage(hostile).render())
    assert seen.requests == []
    assert not [message for message in seen.messages if "alert" in message]
    ticks = seen.page.locator("#confusion .ytick text").all_text_contents()
    assert "<script>alert(1)</script>" in ticks
    assert "a&lt;b" in ticks
