"""The page of a comparison has the order of a run's own page and opens offline."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clearsight.core.errors import BadValue
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.reports.comparison.page import ComparisonPage, comparison_rows
from clearsight.reports.comparison.run import ComparedRun
from tests.reports.compared import compared, first
from tests.reports.conftest import HOSTILE, Opened
from tests.reports.outline import Outline

# Waits until the charts have followed the window, then tells if the page fits the width of a phone.
NARROW = """() => new Promise(done => {
  const check = left => {
    const fits = document.documentElement.scrollWidth <= 390;
    fits || left === 0 ? done(fits) : requestAnimationFrame(() => check(left - 1));
  };
  check(600);
})"""

FOUND = Finding(
    rule="Overfit",
    verdict=Verdict.FOUND,
    severity=Severity.WARNING,
    cause="the validation loss rises",
    fix={"weight_decay": 0.05},
    group="Overfit",
)


@pytest.fixture(scope="module")
def runs() -> list[ComparedRun]:
    findings = {"findings": [FOUND, Finding(rule="Other", verdict=Verdict.CLEAR)]}
    return [
        compared("resnet50", correct=first(70), valid=0.7, lr=0.1, more=findings),
        compared("resnet101", correct=first(88), valid=0.8, model="resnet101"),
        compared("resnet152", correct=first(87), valid=0.82, model="resnet152", fingerprint="e" * 64),
    ]


@pytest.fixture(scope="module")
def page(runs: list[ComparedRun]) -> str:
    return ComparisonPage(runs).render()


def test_sections_are_in_the_order_of_reading(page: str) -> None:
    titles = [text for level, text in Outline(page).headings if level == 2]
    assert titles == ["Verdict", "Recipes and results", "Training", "Findings", "Runs"]


def test_the_verdict_comes_first_with_its_warnings(page: str) -> None:
    text = " ".join(Outline(page).text.split())
    assert "resnet101 is best: it classifies 88.0% of 100 test images correctly" in text
    assert "not on the same data" in text
    assert text.index("resnet101 is best") < text.index("not on the same data") < text.index("The recipes differ")


def test_settings_that_differ_come_before_results(runs: list[ComparedRun]) -> None:
    rows = {name: cells for name, *cells in comparison_rows(runs)}
    assert rows["lr"] == ["0.1", "default", "default"]
    assert rows["model"] == ["timm/mobilenetv2_100", "resnet101", "resnet152"]
    assert "batch_size" not in rows
    assert rows["test accuracy"] == ["70.0%", "88.0%", "87.0%"]
    assert rows["test 95% interval"][0] == "60.4% to 78.1%"
    assert rows["validation loss"] == ["0.3", "0.2", "0.18"]
    assert "parameters" not in rows  # known of none


def test_findings_are_below_their_run(page: str) -> None:
    text = " ".join(Outline(page).text.split())
    assert "1 problem found; 1 rule clear, 0 without enough data. warning the validation loss rises Overfit" in text
    assert "Change: --weight-decay 0.05" in text
    assert text.count("No rule ran.") == 2


def test_a_screen_reader_can_use_it_and_it_loads_nothing(page: str) -> None:
    seen = Outline(page)
    charts = [tag for tag in seen.all("div") if tag.get("class") == "chart"]
    assert len(charts) == 4
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert all(address.startswith("data:") for address in seen.loads())
    keys = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(keys) == len(set(keys))


def test_the_same_runs_give_the_same_bytes(runs: list[ComparedRun], page: str) -> None:
    assert ComparisonPage(runs).render() == page


def test_names_are_never_markup(page: str) -> None:
    hostile = [compared(name, correct=first(50 + i), valid=0.5) for i, name in enumerate(HOSTILE)]
    seen, usual = Outline(ComparisonPage(hostile).render()), Outline(page)
    assert {name for name, _ in seen.tags} <= {name for name, _ in usual.tags}
    assert all(name in seen.text for name in HOSTILE)


@pytest.mark.parametrize("number", [0, 1, 13])
def test_two_to_twelve_runs_can_be_compared(number: int) -> None:
    with pytest.raises(BadValue, match="2 to 12 can be compared"):
        ComparisonPage([compared(f"r{i}") for i in range(number)])


def test_runs_without_data_have_a_page() -> None:
    titles = [
        text for level, text in Outline(ComparisonPage([compared("a"), compared("b")]).render()).headings if level == 2
    ]
    assert titles == ["Verdict", "Recipes and results", "Runs"]


def test_a_browser_draws_it_offline_and_without_complaint(page: str, opened: Callable[..., Opened]) -> None:
    seen = opened(page, color_scheme="dark")
    assert seen.messages == []
    assert seen.requests == []
    assert seen.page.locator(".js-plotly-plot").count() == 4
    legend = seen.page.locator("#epoch-loss .legendtext").all_text_contents()
    assert legend == ["resnet50", "resnet101", "resnet152"]
    seen.page.set_viewport_size({"width": 390, "height": 800})
    assert seen.page.evaluate(NARROW)
