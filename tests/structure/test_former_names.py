"""Former names of the public API that CHANGELOG.md lists under "Renamed" still work.

Those of views, `Needs` and profiles are tested with their modules.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import clearsight
from clearsight.core.recipe import Recipe
from clearsight.core.run import Provenance, Run
from clearsight.core.trial import Trial, TrialState
from clearsight.serving import payload
from clearsight.testing import serving
from clearsight.workflow.run.rules import ALL_RULES

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def test_a_rule_may_declare_its_parameters_with_knob() -> None:
    assert clearsight.knob is clearsight.setting


def test_attributes_of_runs_and_payloads(tmp_path: Path) -> None:
    made_with = Provenance(command=["clearsight"], versions={"torch": "2"}, hardware={"cores": 2})
    run = Run.begin(tmp_path / "run", Recipe(), saved_seconds=2.5, provenance=made_with)
    assert run.spared_seconds == run.saved_seconds == 2.5
    assert (run.command, run.versions, run.hardware) == (["clearsight"], {"torch": "2"}, {"cores": 2})
    assert payload.Payload([b"image"]).pictures == [b"image"]


def test_attributes_of_trials() -> None:
    trial = Trial(number=0, state=TrialState.COMPLETE, params={}, saved_seconds=2.5)
    assert (trial.own, trial.spared_seconds) == (True, 2.5)
    assert not replace(trial, source="runs/earlier").own


def test_classes() -> None:
    assert payload.Answer is payload.PredictionResponse
    assert serving.AnswerContract is serving.ResponseContract


@pytest.mark.parametrize(
    ("rule", "former", "name"),
    [
        ("CheckInputImages", "pictures", "images"),
        ("ClassImbalance", "pictures", "images"),
        ("NormalisationMismatch", "pictures", "images"),
        ("ShuffledWrong", "pictures", "images"),
        ("UnderfitCapacity", "rounds", "evaluations"),
    ],
)
def test_parameters_of_rules(rule: str, former: str, name: str) -> None:
    assert getattr(ALL_RULES.load(rule).parse({former: "96"}), name) == 96


def test_every_former_name_is_in_the_changelog() -> None:
    text = CHANGELOG.read_text(encoding="utf-8").partition("### Renamed")[2]
    for name in ("knob", "spared_seconds", "payload.pictures", "Answer", "AnswerContract", "pictures", "rounds"):
        assert f"`{name}`" in text or f".{name}`" in text, name
