from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.errors import BadValue
from clearsight.core.recipe import Recipe
from clearsight.reports.run.report_data import RunReportData


def test_settings_are_the_recipe_flat(facts: RunReportData) -> None:
    assert facts.settings["model"] == "timm/mobilenetv2_100"
    assert set(facts.settings) == set(Recipe().flat())


def test_a_flat_recipe_reads_the_same() -> None:
    assert RunReportData(name="r", status="running", recipe="lr: 0.1").settings == {"lr": 0.1}
    assert RunReportData(name="r", status="running").settings == {}


@pytest.mark.parametrize("recipe", ["- a\n- b", "a: [", "just words"])
def test_what_is_no_recipe_is_refused_in_one_sentence(recipe: str) -> None:
    with pytest.raises(BadValue, match=r"^recipe: "):
        _ = RunReportData(name="r", status="running", recipe=recipe).settings


def test_the_best_epoch_is_the_one_named_else_the_one_marked_else_the_last(facts: RunReportData) -> None:
    assert facts.best is facts.epochs[6]
    assert replace(facts, best_epoch=2).best is facts.epochs[1]
    assert replace(facts, best_epoch=None).best is facts.epochs[6]
    unmarked = [{**epoch, "best": False} for epoch in facts.epochs]
    assert replace(facts, best_epoch=None, epochs=unmarked).best is unmarked[-1]
    assert RunReportData(name="r", status="running").best is None


def test_images_of_a_split(facts: RunReportData) -> None:
    assert facts.images("train") == 612
    assert facts.images("nowhere") == 0


def test_only_a_name_and_a_status_must_be_known() -> None:
    bare = RunReportData(name="r", status="running")
    assert (bare.profile, bare.tuning) == (None, None)
    told = (bare.findings, bare.rules, bare.actions, bare.what_if, bare.hotlines, bare.typical, bare.samples)
    assert set(told) == {()}
