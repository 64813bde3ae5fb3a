"""SavePlan: the interval follows from the length of the run and from what the rules need."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.finding import Finding
from clearsight.core.rule import Needs, Rule
from clearsight.core.tensors import SaveSchedule
from clearsight.core.view import RunView
from clearsight.debugger.capture.save_plan import make_save_plan, parse_save, parse_save_setting


class VanishingGradient(Rule):
    points: int = 6

    def needs(self) -> Needs:
        return Needs(counted="snapshots", points=self.points, collections=("gradients",))

    def check(self, view: RunView) -> Iterable[Finding]:
        return [self.clear()]


class LossNotDecreasing(VanishingGradient):
    def needs(self) -> Needs:
        return Needs(counted="steps", points=self.points)


def every(*args: object, **more: object) -> int:
    return make_save_plan(*args, **more).schedules["train"].every  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("depth", "steps", "expected"),
    [
        ("light", 100, 5),
        ("light", 1000, 20),
        ("light", 100_000, 2000),
        ("full", 1000, 10),
        ("full", 100_000, 10),
        ("full", 40, 5),
        ("light", 0, 10),
        ("full", 0, 10),
    ],
)
def test_the_interval_follows_from_the_plan(depth: str, steps: int, expected: int) -> None:
    assert every(depth, steps) == expected


def test_light_saves_at_most_a_hundred_points() -> None:
    assert max(make_save_plan("light", n).schedules["train"].points(n) for n in range(1, 5000, 7)) <= 100


def test_the_plan_lists_the_number_of_points() -> None:
    plan = make_save_plan("light", 100)
    assert plan.lines == ("100 steps planned, sampled statistics every 5 steps: 21 points",)


def test_a_rule_that_would_get_too_little_lowers_the_interval() -> None:
    plan = make_save_plan("light", 49, 500, [VanishingGradient(points=6)])
    schedule = plan.schedules["train"]
    assert schedule.points(49) >= 6
    assert SaveSchedule(every=schedule.every + 1).points(49) < 6
    assert f"interval lowered from 500 to {schedule.every} for VanishingGradient" in plan.lines


def test_a_shortage_that_no_interval_mends_is_listed_and_changes_nothing() -> None:
    plan = make_save_plan("light", 50, None, [LossNotDecreasing(points=100), VanishingGradient(points=80)])
    assert plan.schedules["train"].every == 5
    assert "LossNotDecreasing gets 50 of the 100 steps that it needs" in plan.lines
    assert "VanishingGradient gets 11 of the 80 points that it needs" in plan.lines


def test_an_explicit_interval_that_is_enough_stays() -> None:
    assert every("light", 1000, 50, [VanishingGradient(points=6)]) == 50


def test_without_a_planned_length_the_number_of_points_is_open() -> None:
    assert "number of steps not known" in make_save_plan("light", 0, None, [VanishingGradient()]).lines[0]


def test_an_unknown_depth_names_the_nearest() -> None:
    with pytest.raises(BadChoice, match="Did you mean light"):
        parse_save_setting("ligth")


def test_a_list_mixes_depth_and_requests() -> None:
    depth, requests = parse_save_setting(["full", "gradients"])
    assert depth == "full"
    assert [request.collection for request in requests] == ["gradients"]


def test_a_request_is_a_collection_or_a_pattern_of_names() -> None:
    collection, pattern = parse_save(["gradients", r"layer4.*weight$"])
    assert collection.matches("gradients", "gradient/fc.weight")
    assert not collection.matches("weights", "fc.weight")
    assert pattern.matches("weights", "layer4.0.conv1.weight")
    assert not pattern.matches("weights", "layer3.0.conv1.weight")


def test_a_request_may_have_its_own_schedule() -> None:
    regular, single, mixed = parse_save(
        ["gradients@every=50,start=1,end=100", "fc@steps=1,5,9", "fc@every=4,steps=7,9"]
    )
    assert regular.schedule == SaveSchedule(every=50, start=1, end=100)
    assert single.schedule == SaveSchedule(every=0, steps=frozenset({1, 5, 9}))
    assert mixed.schedule == SaveSchedule(every=4, steps=frozenset({7, 9}))


def test_a_request_may_be_for_a_mode_or_once_per_epoch() -> None:
    evaluated, each = parse_save(["activations@mode=eval", "weights@epoch"])
    assert (evaluated.mode, each.per_epoch) == ("eval", True)


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("gradeints", "Did you mean gradients"),
        ("gradients@evry=5", "Did you mean every"),
        ("gradients@mode=evaluate", "Allowed: train, eval"),
        ("gradients@every=often", "a number of steps"),
        ("(", "pattern"),
        ("@every=5", "neither"),
    ],
)
def test_a_misspelt_request_is_refused(word: str, problem: str) -> None:
    with pytest.raises((BadChoice, BadValue), match=problem):
        parse_save([word])


def test_requests_are_listed() -> None:
    lines = make_save_plan(
        "light", 100, requests=parse_save(["gradients@every=50,end=100", "fc@steps=1,5", "weights@epoch"])
    ).lines
    assert lines[1:] == (
        "whole tensors of gradients every 50 steps before 100",
        "whole tensors of names with fc at steps 1, 5",
        "whole tensors of weights once per epoch",
    )
