from __future__ import annotations

from clearsight.reports.comparison.curves import curves
from clearsight.reports.comparison.run import ComparedRun
from clearsight.reports.run.report_data import RunReportData
from tests.reports.compared import compared
from tests.reports.conftest import trained


def long_run(label: str, steps: int) -> ComparedRun:
    epochs, rows = trained(epochs=3, steps=steps)
    return ComparedRun(
        label=label, path="", report=RunReportData(name=label, status="completed", epochs=epochs, steps=rows)
    )


def test_loss_by_step_and_scores_by_epoch_of_every_run() -> None:
    section = curves([long_run("a", 10), long_run("b", 20)])
    assert section is not None
    assert [panel.key for panel in section.panels] == ["step-loss", "epoch-loss", "epoch-accuracy"]
    assert all([trace.name for trace in panel.figure.data] == ["a", "b"] for panel in section.panels)
    assert section.panels[1].table.columns == ("epoch", "a", "b")


def test_a_long_run_is_thinned() -> None:
    section = curves([long_run("a", 3000), long_run("b", 10)])
    assert section is not None
    many, few = section.panels[0].figure.data
    assert len(many.x) == 120
    assert len(few.x) == 30
    assert len(section.panels[0].table.rows) == 40


def test_a_run_without_steps_is_left_out_and_the_others_keep_their_style() -> None:
    section = curves([compared("idle"), long_run("b", 10)])
    assert section is not None
    (only,) = section.panels[0].figure.data
    assert (only.name, only.marker.symbol) == ("b", "diamond")


def test_without_curves_there_is_no_section() -> None:
    assert curves([compared("a"), compared("b")]) is None
