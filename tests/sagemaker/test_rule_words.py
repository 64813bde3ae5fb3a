"""Words: every rule of the report has some, and a finding's own advice goes first."""

from __future__ import annotations

from clearsight.core.finding import Finding, Verdict
from clearsight_sagemaker.measured import RULES
from clearsight_sagemaker.rule_words import WORDS, recommendation


def test_every_rule_is_described() -> None:
    assert tuple(WORDS) == RULES
    assert all(words.description for words in WORDS.values())


def test_in_general() -> None:
    assert recommendation("Dataloader", ()) == WORDS["Dataloader"].recommendation


def test_what_the_finding_says_goes_first() -> None:
    found = Finding(rule="Dataloader", verdict=Verdict.FOUND, fix={"workers": 8}, advice="Read with 8 workers.")
    assert recommendation("Dataloader", (found,)) == "Set --workers 8. Read with 8 workers."
    bare = Finding(rule="Dataloader", verdict=Verdict.FOUND)
    assert recommendation("Dataloader", (bare,)) == WORDS["Dataloader"].recommendation
