from __future__ import annotations

import json
import math

import pytest

from clearsight.core.errors import BadShape
from clearsight.reports.charts.learning import learning_curve, size_histogram
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
SECTION = PageSection(
    key="curves",
    title="Training",
    template="run/training.html",
    panels=(
        Panel(
            key="loss",
            title="Loss",
            description="Loss over 2 epochs.",
            figure=learning_curve([1, 2], [2.0, math.nan], [2.5, 1.5]),
            table=table("Loss", ("epoch", "training"), "rr", [(1, 2.0), (2, "nan")]),
        ),
    ),
    tables=(table("Speed", ("epoch", "images/s"), "rr", [(1, 90)]),),
)


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


def test_a_panel_has_its_figure_and_its_table() -> None:
    panel = SECTION.to_json()["panels"]["loss"]
    assert set(panel) == {"title", "says", "figure", "table"}
    assert panel["says"] == "Loss over 2 epochs."
    assert panel["figure"]["data"][1]["y"] == [2.5, 1.5]
    assert panel["table"] == {"columns": ["epoch", "training"], "rows": [["1", "2.0"], ["2", "nan"]]}


def test_tables_without_a_chart_are_keyed_by_caption() -> None:
    assert SECTION.to_json()["tables"] == {"Speed": {"columns": ["epoch", "images/s"], "rows": [["1", "90"]]}}


def test_numbers_of_a_figure_that_are_not_finite_become_null() -> None:
    read = json.loads(json.dumps(SECTION.to_json(), allow_nan=False))
    assert read["panels"]["loss"]["figure"]["data"][0]["y"] == [2.0, None]


def test_a_renamed_caption_keeps_its_old_key() -> None:
    section = PageSection(key="rules", title="", template="", tables=(table("All rules", ("rule",), "l", [("A",)]),))
    tables = section.to_json()["tables"]
    assert tables["Every rule that was asked"] == tables["All rules"]


def test_only_cells_of_a_status_are_coloured() -> None:
    by_row = table("t", ("", "a", "b"), "lll", [("status", "completed", "failed"), ("class", "running", "shoes")])
    assert [by_row.tone(row, column) for row in by_row.rows for column in (1, 2)] == ["good", "bad", "", ""]
    by_column = table("t", ("trial", "state"), "rl", [(1, "pruned")])
    assert by_column.tone(by_column.rows[0], 1) == "open"
