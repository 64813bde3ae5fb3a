from __future__ import annotations

import pytest

from clearsight.core.finding import Finding, Verdict
from clearsight.reports.comparison.run import differences
from tests.reports.compared import compared


def test_only_what_differs_is_told_in_the_order_of_the_recipe() -> None:
    runs = [compared("a", lr=0.01, batch_size=8), compared("b", lr=0.1, batch_size=16), compared("c", batch_size=16)]
    assert differences(runs) == {"lr": [0.01, 0.1, None], "batch_size": [8, 16, 16]}
    assert list(differences(runs)) == ["lr", "batch_size"]
    assert differences(runs[:1] * 2) == {}


def test_a_score_has_its_interval() -> None:
    score = compared("a", hits=90).score("test")
    assert score is not None
    assert (score.accuracy, score.images) == (0.9, 100)
    assert score.interval == pytest.approx((0.8256, 0.9448), abs=1e-4)


def test_the_validation_score_is_that_of_the_kept_epoch() -> None:
    score = compared("a", valid=0.6).score("valid")
    assert score is not None
    assert (score.accuracy, score.images, score.loss) == (0.6, 50, 0.4)


def test_what_was_not_measured_is_no_score() -> None:
    run = compared("a", hits=90)
    assert run.score("valid") is None
    assert compared("a", valid=0.6).score("test") is None


def test_problems_are_root_causes_once_each() -> None:
    found = Finding(rule="Overfit", verdict=Verdict.FOUND, group="Overfit")
    after = Finding(rule="DeadLayer", verdict=Verdict.FOUND, group="Overfit")
    clear = Finding(rule="Other", verdict=Verdict.CLEAR)
    run = compared("a", more={"findings": [found, found, after, clear]})
    assert run.problems == [found]
