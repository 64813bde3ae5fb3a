"""The page of a comparison reads like a run's own page, and needs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clearsight.core.errors import BadValue
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.reports.comparison.page import compare_page, comparison_rows
from clearsight.reports.comparison.run import ComparedRun
from tests.reports.compared import compared, first
from tests.reports.conftest import HOSTILE, Opened
from tests.reports.outline import Outline

# Charts follow the window some frames after it: whether the page fits a phone then.
NARROW = """() => new Promise(done => {
  const look = left => {
    const fits = document.documentElement.scrollWidth <= 390;
    fits || left === 0 ? done(fits) : requestAnimationFrame(() => look(left - 1));
  };
  look(600);
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
    found = {"findings": [FOUND, Finding(rule="Other", verdict=Verdict.CLEAR)]}
    return [
        compared("resnet50", right=first(70), valid=0.7, lr=0.1, more=found),
        compared("resnet101", right=first(88), valid=0.8, model="resnet101"),
        compared("resnet152", right=first(87), valid=0.82, model="resnet152", fingerprint="e" * 64),
    ]


@pytest.fixture(scope="module")
def page(runs: list[ComparedRun]) -> str:
    return compare_page(runs)


def test_sections_stand_in_the_order_of_reading(page: str) -> None:
    titles = [text for level, text in Outline(page).headings if level == 2]
    assert titles == ["Verdict", "Recipes and results", "Training", "Findings", "Runs"]


def test_the_verdict_stands_first_with_what_makes_it_lame(page: str) -> None:
    text = " ".join(Outline(page).text.split())
    assert "resnet101 is best: it gets 88.0% of 100 test images right" in text
    assert "not on the same data" in text
    assert text.index("resnet101 is best") < text.index("not on the same data") < text.index("The recipes differ")


def test_settings_that_differ_stand_against_results(runs: list[ComparedRun]) -> None:
    rows = {name: cells for name, *cells in comparison_rows(runs)}
    assert rows["lr"] == ["0.1", "default", "default"]
    assert rows["model"] == ["timm/mobilenetv2_100", "resnet101", "resnet152"]
    assert "batch_size" not in rows
    assert rows["test accuracy"] == ["70.0%", "88.0%", "87.0%"]
    assert rows["test 95% interval"][0] == "60.4% to 78.1%"
    assert rows["validation loss"] == ["0.3", "0.2", "0.18"]
    assert "parameters" not in rows  # known of none


def test_findings_stand_under_their_run(page: str) -> None:
    text = " ".join(Outline(page).text.split())
    assert "1 problem found; 1 rule clear, 0 without enough data. warning the validation loss rises Overfit" in text
    assert "Change: --weight-decay 0.05" in text
    assert text.count("No rule was asked.") == 2


def test_it_can_be_used_without_eyes_and_loads_nothing(page: str) -> None:
    seen = Outline(page)
    charts = [tag for tag in seen.all("div") if tag.get("class") == "chart"]
    assert len(charts) == 4
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert all(address.startswith("data:") for address in seen.loads())
    keys = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(keys) == len(set(keys))


def test_the_same_runs_give_the_same_bytes(runs: list[ComparedRun], page: str) -> None:
    assert compare_page(runs) == page


def test_names_are_text_wherever_they_stand(page: str) -> None:
    hostile = [compared(name, right=first(50 + i), valid=0.5) for i, name in enumerate(HOSTILE)]
    seen, usual = Outline(compare_page(hostile)), Outline(page)
    assert {name for name, _ in seen.tags} <= {name for name, _ in usual.tags}
    assert all(name in seen.text for name in HOSTILE)


@pytest.mark.parametrize("number", [0, 1, 13])
def test_two_to_twelve_can_stand_beside_each_other(number: int) -> None:
    with pytest.raises(BadValue, match="2 to 12 can be compared"):
        compare_page([compared(f"r{i}") for i in range(number)])


def test_runs_of_which_nothing_is_known_have_a_page() -> None:
    titles = [text for level, text in Outline(compare_page([compared("a"), compared("b")])).headings if level == 2]
    assert titles == ["Verdict", "Recipes and results", "Runs"]


def test_a_browser_draws_it_offline_and_without_complaint(page: str, opened: Callable[..., Opened]) -> None:
    seen = opened(page, color_scheme="dark")
    assert seen.said == []
    assert seen.asked == []
    assert seen.page.locator(".js-plotly-plot").count() == 4
    legend = seen.page.locator("#epoch-loss .legendtext").all_text_contents()
    assert legend == ["resnet50", "resnet101", "resnet152"]
    seen.page.set_viewport_size({"width": 390, "height": 800})
    assert seen.page.evaluate(NARROW)
