from __future__ import annotations

import itertools

import pytest

from clearsight.core.statistics import Interval
from clearsight.reports.comparison.curves import MAX_RUNS, OverlayCurve, curves, interval_chart, overlay, run_style
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


def test_no_two_runs_have_the_same_dash_and_marker() -> None:
    styles = [run_style(index) for index in range(MAX_RUNS)]
    assert all(a[1:] != b[1:] for a, b in itertools.combinations(styles, 2))
    assert len({marker for _, _, marker in styles}) == MAX_RUNS


def test_curves_keep_the_style_of_their_run() -> None:
    figure = overlay(
        [OverlayCurve("a", 0, [1, 2], [1.0, None]), OverlayCurve("c", 2, [1], [2.0])], unit="step", metric="loss"
    )
    first, third = figure.data
    assert (first.name, third.name) == ("a", "c")
    assert (third.line.color, third.line.dash, third.marker.symbol) == run_style(2)
    assert list(first.y) == [1.0, None]
    assert figure.layout.showlegend


@pytest.mark.parametrize(("last", "kind"), [(2.0, None), (2000.0, "log")])
def test_losses_over_decades_have_a_logarithmic_axis(last: float, kind: str | None) -> None:
    figure = overlay([OverlayCurve("a", 0, [1, 2], [0.5, last])], unit="step", metric="loss")
    assert figure.layout.yaxis.type == kind


def test_accuracies_end_at_1() -> None:
    assert interval_chart([("a", 0, 0.98, Interval(0.9, 1.0))]).layout.xaxis.autorangeoptions.clipmax == 1.0


def test_names_are_escaped() -> None:
    assert overlay([OverlayCurve("<b>x", 0, [1], [1.0])], unit="step", metric="loss").data[0].name == "&lt;b&gt;x"
    assert interval_chart([("<b>x", 0, 0.5, None)]).layout.yaxis.ticktext == ("&lt;b&gt;x",)


def test_the_best_is_on_top_with_its_interval() -> None:
    figure = interval_chart([("low", 0, 0.5, Interval(0.4, 0.6)), ("high", 1, 0.9, None)])
    low, high = figure.data
    assert (low.name, list(low.y), high.name, list(high.y)) == ("low", [0], "high", [1])
    assert (round(low.error_x.array[0], 9), round(low.error_x.arrayminus[0], 9)) == (0.1, 0.1)
    assert high.error_x.array[0] == 0
