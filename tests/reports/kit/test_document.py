from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from clearsight.reports.charts.learning import size_histogram
from clearsight.reports.kit.document import Page, render_document
from clearsight.reports.kit.section import PageSection, Panel, table
from tests.reports.outline import Outline


def notices(*texts: str) -> PageSection:
    values = [{"code": "c", "text": text, "paths": [], "about": "", "left": 0} for text in texts]
    return PageSection(
        key="s", title="Part", template="dataset/overview.html", values={"notices": values, "figures": []}
    )


def test_a_page_without_charts_carries_no_script() -> None:
    html = render_document(title="T", kind="Report", sections=[notices("hello")])
    assert not Outline(html).all("script")
    assert len(html) < 20_000


def test_title_kind_badge_and_sections_are_there_and_linked() -> None:
    outline = Outline(render_document(title="T", kind="Report", badge="done", sections=[notices()]))
    assert outline.headings == [(1, "T "), (2, "Part")]
    assert "done" in outline.text
    assert {"href": "#s"} in outline.all("a")
    assert any(section.get("id") == "s" for section in outline.all("section"))


def test_the_page_forbids_itself_the_network() -> None:
    html = render_document(title="T", kind="Report", sections=[notices()])
    policy = next(meta["content"] for meta in Outline(html).all("meta") if "http-equiv" in meta)
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_text_is_never_markup() -> None:
    outline = Outline(render_document(title="<i>T", kind="<i>", badge="<i>", sections=[notices("<script>x")]))
    assert not outline.all("i")
    assert not outline.all("script")
    assert "<script>x" in outline.text


def test_the_same_values_give_the_same_bytes() -> None:
    section = notices("a", "b")
    first, second = (render_document(title="T", kind="Report", sections=[section]) for _ in range(2))
    assert first == second


def test_scripts_of_sections_run_once_each() -> None:
    parts = [replace(notices(), key=key, scripts=("copy.js", "fold.js")) for key in ("a", "b")]
    html = render_document(title="T", kind="Report", sections=parts)
    assert len(Outline(html).all("script")) == 2
    assert "plotly" not in html


def test_the_part_of_the_library_is_named_with_its_licence() -> None:
    vendor = files("clearsight.reports").joinpath("vendor")
    assert "plotly.js (cartesian" in vendor.joinpath("plotly-cartesian.min.js").read_text(encoding="utf-8")[:200]
    assert vendor.joinpath("plotly-LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def words(data: list[str]) -> PageSection | None:
    return notices(*data) if data else None


def chart(data: list[str]) -> PageSection:
    figure = size_histogram([(word, len(word)) for word in data or ["none"]])
    panel = Panel(key="p", title="t", description="d", figure=figure, table=table("t", (), "", []))
    return PageSection(key="c", title="Chart", template="kit/panels.html", values={"about": ""}, panels=(panel,))


class WordPage(Page[list[str]]):
    kind = "Words"
    SECTIONS = (words, chart)

    def __init__(self, data: list[str]) -> None:
        super().__init__(data, title=f"{len(data)} words")

    def values(self) -> dict[str, Any]:
        return {**super().values(), "best": {"value": math.inf}, "hypervolume": ((1, math.nan),)}


def test_a_section_with_nothing_to_show_is_left_out() -> None:
    assert [section.key for section in WordPage(["a"]).sections] == ["s", "c"]
    assert [section.key for section in WordPage([]).sections] == ["c"]


def test_sections_are_built_once_for_html_and_json() -> None:
    page = WordPage(["a"])
    assert page.sections is page.sections
    assert list(page.to_json()["sections"]) == ["s", "c"]
    assert "1 words · Words" in page.render()


def test_html_and_json_are_written_to_the_given_files(tmp_path: Path) -> None:
    page = WordPage(["a"])
    page.write(tmp_path / "page.html", tmp_path / "numbers.json")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page.render()
    read = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert read == page.to_json()
    assert read["name"] == "1 words"


def test_numbers_that_are_not_finite_become_null() -> None:
    read = json.loads(json.dumps(WordPage(["a"]).to_json(), allow_nan=False))
    assert read["best"] == {"value": None}
    assert read["hypervolume"] == [[1, None]]
