from __future__ import annotations

import json

from clearsight.reports.charts import size_histogram
from clearsight.reports.panel import Panel
from clearsight.reports.table import table


def test_the_figure_cannot_end_the_script_that_holds_it() -> None:
    figure = size_histogram([("</script><script>alert(1)</script>", 3), ("<!--", 1)])
    panel = Panel(key="p", title="t", says="s", figure=figure, table=table("t", (), "", []))
    assert not set("<>&") & set(panel.json)
    assert json.loads(panel.json) == json.loads(figure.to_json())


def test_the_height_is_known_before_drawing() -> None:
    figure = size_histogram([("1", 3)])
    assert Panel(key="p", title="t", says="s", figure=figure, table=table("t", (), "", [])).height == 280


def test_a_table_stands_open_only_where_people_come_for_it() -> None:
    figure = size_histogram([("1", 3)])
    assert not Panel(key="p", title="t", says="s", figure=figure, table=table("t", (), "", [])).unfolded
