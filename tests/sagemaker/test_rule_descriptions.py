"""Descriptions: every rule of the report has one, and a finding's own advice comes first."""

from __future__ import annotations

from clearsight.core.finding import Finding, Verdict
from clearsight_sagemaker.rule_descriptions import DESCRIPTIONS, recommendation
from clearsight_sagemaker.run_profile import RULES


def test_every_rule_is_described() -> None:
    assert tuple(DESCRIPTIONS) == RULES
    assert all(rule.description for rule in DESCRIPTIONS.values())


def test_without_a_finding_the_general_remedy_is_recommended() -> None:
    assert recommendation("Dataloader", ()) == DESCRIPTIONS["Dataloader"].recommendation


def test_fix_and_advice_of_the_finding_come_first() -> None:
    found = Finding(rule="Dataloader", verdict=Verdict.FOUND, fix={"workers": 8}, advice="Read with 8 workers.")
    assert recommendation("Dataloader", (found,)) == "Set --workers 8. Read with 8 workers."
    bare = Finding(rule="Dataloader", verdict=Verdict.FOUND)
    assert recommendation("Dataloader", (bare,)) == DESCRIPTIONS["Dataloader"].recommendation
