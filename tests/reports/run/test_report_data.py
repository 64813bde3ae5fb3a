from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.errors import BadValue
from clearsight.core.recipe import Recipe
from clearsight.reports.run.report_data import RunReportData


def test_settings_are_the_recipe_flat(report: RunReportData) -> None:
    assert report.settings["model"] == "timm/mobilenetv2_100"
    assert set(report.settings) == set(Recipe().flat())


def test_a_flat_recipe_reads_the_same() -> None:
    assert RunReportData(name="r", status="running", recipe="lr: 0.1").settings == {"lr": 0.1}
    assert RunReportData(name="r", status="running").settings == {}


@pytest.mark.parametrize("recipe", ["- a\n- b", "a: [", "just words"])
def test_a_recipe_that_is_no_mapping_is_an_error(recipe: str) -> None:
    with pytest.raises(BadValue, match=r"^recipe: "):
        _ = RunReportData(name="r", status="running", recipe=recipe).settings


def test_the_best_epoch_is_the_given_one_else_the_marked_one_else_the_last(report: RunReportData) -> None:
    assert report.best is report.epochs[6]
    assert replace(report, best_epoch=2).best is report.epochs[1]
    assert replace(report, best_epoch=None).best is report.epochs[6]
    unmarked = [{**epoch, "best": False} for epoch in report.epochs]
    assert replace(report, best_epoch=None, epochs=unmarked).best is unmarked[-1]
    assert RunReportData(name="r", status="running").best is None


def test_images_of_a_split(report: RunReportData) -> None:
    assert report.images("train") == 612
    assert report.images("nowhere") == 0


def test_only_name_and_status_are_required() -> None:
    bare = RunReportData(name="r", status="running")
    assert (bare.profile, bare.tuning) == (None, None)
    values = (bare.findings, bare.rules, bare.actions, bare.what_if, bare.hotlines, bare.typical, bare.samples)
    assert set(values) == {()}
