from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.reports.facts import RunFacts
from clearsight.reports.verdict import good, trained, verdict


def test_three_sentences_what_how_good_and_what_stands_out(facts: RunFacts) -> None:
    assert verdict(facts).values["sentences"] == (
        "timm/mobilenetv2_100 (pretrained, backbone frozen) was trained for 8 epochs, on 612 pictures of 6 classes "
        "from intel-scenes.",
        "Of 240 test pictures it gets 89.2% right (95% interval 84.6% to 92.5%), macro F1 0.892.",
        "Its most common confusion is glacier taken for mountain: 7 of 40 pictures (17.5%).",
    )


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        ("running", "", "is still in training (8 epochs of 8 so far)"),
        ("stopped_early", "no gain", "was trained for 8 epochs of 8 and stopped early (no gain)"),
        ("interrupted", "signal 15.", "was interrupted after 8 epochs of 8 (signal 15)"),
        ("diverged", "loss is nan", "diverged after 8 epochs of 8 (loss is nan)"),
        ("failed", "", "failed after 8 epochs of 8"),
        ("melted", "", "ended as melted after 8 epochs"),
    ],
)
def test_how_it_ended_is_said(facts: RunFacts, status: str, reason: str, said: str) -> None:
    assert f"backbone frozen) {said}, on" in trained(replace(facts, status=status, reason=reason))


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("model: resnet18\nweights: none", "resnet18 (from random weights) was"),
        ("model: alexnet\nweights: /w/mine.pth\nfreeze: layer3", "alexnet (from mine.pth, frozen up to layer3)"),
        ("model: resnet18", "resnet18 was"),
        ("", "scenes-frozen was"),
    ],
)
def test_where_it_started_is_said(facts: RunFacts, recipe: str, said: str) -> None:
    assert trained(replace(facts, recipe=recipe)).startswith(said)


def test_without_a_test_split_validation_speaks_and_says_that_it_flatters(facts: RunFacts) -> None:
    said = good(replace(facts, evaluation=None))
    assert said.startswith("Of 108 validation pictures it gets 86.")
    assert "flattering" in said


def test_a_run_that_knows_nothing_says_so() -> None:
    bare = RunFacts(name="r", status="running")
    assert verdict(bare).values["sentences"] == (
        "r is still in training (0 epochs so far).",
        "It has not been evaluated.",
        "There is not enough yet to say what stands out.",
    )
    assert verdict(bare).values["figures"] == []


def test_the_first_figures_are_the_ones_people_look_for(facts: RunFacts) -> None:
    figures = {name: value for name, value, _ in verdict(facts).values["figures"]}
    assert figures == {
        "test accuracy": "89.2%",
        "macro F1": "0.892",
        "calibration error": "3.1%",
        "epoch kept": "7",
        "training time": "31.2 s",
    }


def test_two_classes_show_their_roc_auc(facts: RunFacts) -> None:
    two = replace(facts, evaluation={**(facts.evaluation or {}), "roc_auc": 0.837})
    assert ("ROC-AUC", "0.837", "0.5 is a coin, 1 is perfect") in verdict(two).values["figures"]
