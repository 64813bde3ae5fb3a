"""The debugger of a run: its settings are checked first, and it saves as the rules need it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from clearsight.core.errors import BadChoice
from clearsight.core.recipe import Recipe
from clearsight.workflow.run.debugging import actions, plain_settings, planned_steps, save_plan
from clearsight.workflow.run.rules import check_debugging


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rules": "Overfitt"}, "Did you mean Overfit"),
        ({"rule": ["Overfit(patienc=3)"]}, "Did you mean patience"),
        ({"save": ["gradient"]}, "Did you mean gradients"),
        ({"on_finding": ["stopp"]}, "Did you mean stop"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(BadChoice, match=words):
        check_debugging(Recipe().replace(**settings).debug)


def test_the_default_settings_are_valid() -> None:
    check_debugging(Recipe().debug)


def test_repair_adds_a_retry_on_severe_findings() -> None:
    parsed = actions(Recipe().replace(on_finding=["Overtraining=stop"], repair=2).debug)
    assert [(action.verb, action.selector) for action in parsed] == [("stop", "Overtraining"), ("retry", "severe")]
    assert actions(Recipe().debug) == []


def test_planned_steps_count_accumulated_batches() -> None:
    phases: Any = [SimpleNamespace(epochs=e, train=SimpleNamespace(steps=n)) for e, n in ((2, 5), (3, 4))]
    assert planned_steps(phases, accumulate=1) == 22
    assert planned_steps(phases, accumulate=2) == 2 * 3 + 3 * 2  # the last step of an epoch may have fewer batches


def test_without_the_debugger_nothing_is_saved() -> None:
    assert save_plan(Recipe().replace(debug="off"), 100) is None
    assert save_plan(Recipe(), 100) is not None


def test_settings_of_a_recipe_are_plain_json_values() -> None:
    settings = plain_settings(Recipe().replace(head=(32, 16), lr=0.1))
    assert settings["head"] == [32, 16]
    assert {type(value) for value in settings.values()} <= {str, int, float, bool, list, type(None)}
