from __future__ import annotations

import json

import pytest

from clearsight.core.errors import BadShape
from clearsight.reports.charts.learning import size_histogram
from clearsight.reports.kit.section import (
    PATHS_LISTED,
    PageSection,
    Panel,
    notice_values,
    panels_section,
    table,
    table_section,
)

FIGURE = size_histogram([("1", 3)])


def test_a_section_needs_only_a_key_a_title_and_a_template() -> None:
    section = PageSection(key="k", title="t", template="run/verdict.html")
    assert (dict(section.values), section.panels, section.tables, section.scripts) == ({}, (), (), ())


def test_the_figure_cannot_end_the_script_that_holds_it() -> None:
    figure = size_histogram([("</script><script>alert(1)</script>", 3), ("<!--", 1)])
    panel = Panel(key="p", title="t", description="d", figure=figure, table=table("t", (), "", []))
    assert not set("<>&") & set(panel.json)
    assert json.loads(panel.json) == json.loads(figure.to_json())


def test_the_height_is_known_before_drawing() -> None:
    assert Panel(key="p", title="t", description="d", figure=FIGURE, table=table("t", (), "", [])).height == 280


def test_a_table_is_folded_unless_it_is_asked_to_be_open() -> None:
    assert not Panel(key="p", title="t", description="d", figure=FIGURE, table=table("t", (), "", [])).unfolded


def test_cells_become_text() -> None:
    counts = table("Counts", ("class", "images"), "lr", [("sea", 40)])
    assert counts.rows == (("sea", "40"),)
    assert [counts.side(0), counts.side(1)] == ["words", "number"]


def test_a_row_of_another_length_is_an_error() -> None:
    with pytest.raises(BadShape, match="must have 2 cells"):
        table("Counts", ("class", "images"), "lr", [("sea",)])
    with pytest.raises(BadShape, match="must have 2 cells"):
        table("Counts", ("class", "images"), "l", [])


def test_sections_of_charts_or_of_one_table_share_their_templates() -> None:
    panel = Panel(key="p", title="t", description="d", figure=FIGURE, table=table("t", (), "", []))
    charts = panels_section("k", "t", [panel], "about")
    assert (charts.template, charts.panels, charts.values["about"]) == ("kit/panels.html", (panel,), "about")
    listed = table_section("k", "t", table("t", (), "", []), note="2 more")
    assert (listed.template, listed.values["note"]) == ("kit/table.html", "2 more")


def test_notices_keep_their_text_and_the_first_of_their_paths() -> None:
    values = notice_values({"code": "bad-image", "text": "bad", "paths": [f"{i}.jpg" for i in range(60)]})
    assert (values["text"], values["code"], values["about"]) == ("bad", "bad-image", "60 images")
    assert len(values["paths"]) == PATHS_LISTED
    assert values["left"] == 10
    assert notice_values({"code": "c", "text": "no paths"})["paths"] == []
