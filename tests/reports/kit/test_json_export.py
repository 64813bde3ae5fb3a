from __future__ import annotations

import json
import math

from clearsight.reports.charts.learning import learning_curve
from clearsight.reports.kit.json_export import page_json
from clearsight.reports.kit.section import PageSection, Panel, table

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


def test_a_panel_has_its_figure_and_its_table() -> None:
    panel = page_json({}, [SECTION])["sections"]["curves"]["panels"]["loss"]
    assert set(panel) == {"title", "says", "figure", "table"}
    assert panel["says"] == "Loss over 2 epochs."
    assert panel["figure"]["data"][1]["y"] == [2.5, 1.5]
    assert panel["table"] == {"columns": ["epoch", "training"], "rows": [["1", "2.0"], ["2", "nan"]]}


def test_tables_without_a_chart_are_keyed_by_caption() -> None:
    assert page_json({}, [SECTION])["sections"]["curves"]["tables"] == {
        "Speed": {"columns": ["epoch", "images/s"], "rows": [["1", "90"]]}
    }


def test_numbers_that_are_not_finite_become_null() -> None:
    values = {"best": {"value": math.inf}, "hypervolume": ((1, math.nan),)}
    read = json.loads(json.dumps(page_json(values, [SECTION]), allow_nan=False))
    assert read["best"] == {"value": None}
    assert read["hypervolume"] == [[1, None]]
    assert read["sections"]["curves"]["panels"]["loss"]["figure"]["data"][0]["y"] == [2.0, None]


def test_a_renamed_caption_keeps_its_old_key() -> None:
    section = PageSection(key="rules", title="", template="", tables=(table("All rules", ("rule",), "l", [("A",)]),))
    tables = page_json({}, [section])["sections"]["rules"]["tables"]
    assert tables["Every rule that was asked"] == tables["All rules"]
