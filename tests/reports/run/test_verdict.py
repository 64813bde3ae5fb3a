from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.finding import Severity
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.verdict import good, trained, verdict
from tests.reports.watched import clear, found


def test_three_sentences_what_how_good_and_what_stands_out(facts: RunReportData) -> None:
    assert verdict(facts).values["sentences"] == (
        "timm/mobilenetv2_100 (pretrained, backbone frozen) was trained for 8 epochs, on 612 images of 6 classes "
        "from intel-scenes.",
        "Of 240 test images it gets 89.2% right (95% interval 84.6% to 92.5%), macro F1 0.892.",
        "Its most common confusion is glacier taken for mountain: 7 of 40 images (17.5%).",
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
def test_how_it_ended_is_said(facts: RunReportData, status: str, reason: str, said: str) -> None:
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
def test_where_it_started_is_said(facts: RunReportData, recipe: str, said: str) -> None:
    assert trained(replace(facts, recipe=recipe)).startswith(said)


def test_without_a_test_split_validation_speaks_and_says_that_it_flatters(facts: RunReportData) -> None:
    said = good(replace(facts, evaluation=None))
    assert said.startswith("Of 108 validation images it gets 86.")
    assert "flattering" in said


def test_a_run_that_knows_nothing_says_so() -> None:
    bare = RunReportData(name="r", status="running")
    assert verdict(bare).values["sentences"] == (
        "r is still in training (0 epochs so far).",
        "It has not been evaluated.",
        "There is not enough yet to say what stands out.",
    )
    assert verdict(bare).values["figures"] == []


def test_the_first_figures_are_the_ones_people_look_for(facts: RunReportData) -> None:
    figures = {name: value for name, value, _ in verdict(facts).values["figures"]}
    assert figures == {
        "test accuracy": "89.2%",
        "macro F1": "0.892",
        "calibration error": "3.1%",
        "epoch kept": "7",
        "training time": "31.2 s",
    }


def test_two_classes_show_their_roc_auc(facts: RunReportData) -> None:
    two = replace(facts, evaluation={**(facts.evaluation or {}), "roc_auc": 0.837})
    assert ("ROC-AUC", "0.837", "0.5 is a coin, 1 is perfect") in verdict(two).values["figures"]


def test_the_third_sentence_is_the_first_root_cause_and_its_fix_can_be_typed(watched: RunReportData) -> None:
    section = verdict(watched)
    assert section.values["sentences"][2] == (
        "What to look at first is LearningRateTooHigh: from step 40 on the loss jumps by 41% from one step to the next "
        "and ends higher than it began."
    )
    assert section.values["fix"] == "--lr 0.0001 --warmup 0.1"
    assert section.values["more"] == (
        "Found as well: DataWait, DeadRelu.",
        "Its most common confusion is glacier taken for mountain: 7 of 40 images (17.5%).",
    )


def test_without_a_fix_the_advice_is_said(facts: RunReportData) -> None:
    told = verdict(replace(facts, findings=[found("DeadRelu", cause="half of it is dead.", advice="use another")]))
    assert told.values["sentences"][2] == "What to look at first is DeadRelu: half of it is dead. Use another."
    assert told.values["fix"] == ""


def test_what_is_only_worth_knowing_leaves_the_word_to_the_remarks(facts: RunReportData) -> None:
    told = verdict(replace(facts, findings=[found("LoadBalancing", severity=Severity.INFO)]))
    assert told.values["sentences"][2].startswith("Its most common confusion is")
    assert told.values["more"] == ("Found as well: LoadBalancing.",)


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_lost_run_says_why_or_that_nobody_knows(status: str) -> None:
    lost = RunReportData(name="r", status=status, reason="the loss is nan at step 7")
    first, _, third = verdict(lost).values["sentences"]
    assert "(the loss is nan at step 7)" in first
    assert third == "No rule found out why; log.txt of the run has its last words."
    known = replace(lost, findings=[found("EarlyNaN", severity=Severity.SEVERE, cause="layer1 overflows")])
    assert verdict(known).values["sentences"][2] == "What to look at first is EarlyNaN: layer1 overflows."


def test_rules_that_are_clear_are_part_of_what_was_looked_at() -> None:
    quiet = RunReportData(name="r", status="completed", findings=[clear("A"), clear("B")])
    assert verdict(quiet).values["sentences"][2] == "Nothing stands out; looked at: 2 rules."


def test_a_loop_of_somebodys_own_is_told_by_its_speed(foreign: RunReportData) -> None:
    assert verdict(foreign).values["sentences"] == (
        "train.py ran to its end after 1 min 01 s, with 300 timed training steps.",
        "A step takes 200 ms (median), which makes 640 images per second; 1.5% of it is waiting for data.",
        "What to look at first is DataWait: the training thread waits for batches 62% of its time.",
    )
    failed = replace(foreign, status="failed", reason="exit code 1", seconds=0.0)
    assert trained(failed) == "train.py failed (exit code 1), with 300 timed training steps."


def test_waiting_for_data_is_a_figure_where_it_was_timed(watched: RunReportData) -> None:
    assert ("waiting for data", "64.9%", "of the training steps' time") in verdict(watched).values["figures"]
