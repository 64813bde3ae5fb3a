from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.finding import Severity
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.verdict import score_sentence, training_sentence, verdict
from tests.reports.watched import clear, found


def test_three_sentences_tell_training_score_and_problem(report: RunReportData) -> None:
    assert verdict(report).values["sentences"] == (
        "timm/mobilenetv2_100 (pretrained, backbone frozen) was trained for 8 epochs, on 612 images of 6 classes "
        "from intel-scenes.",
        "It classifies 89.2% of 240 test images correctly (95% interval 84.6% to 92.5%); its macro F1 is 0.892.",
        "The most frequent confusion: glacier is predicted as mountain for 7 of 40 images (17.5%).",
    )


@pytest.mark.parametrize(
    ("status", "reason", "text"),
    [
        ("running", "", "is still training (8 of 8 epochs so far)"),
        ("stopped_early", "no gain", "was trained for 8 of 8 epochs and stopped early (no gain)"),
        ("interrupted", "signal 15.", "was interrupted after 8 of 8 epochs (signal 15)"),
        ("diverged", "loss is nan", "diverged after 8 of 8 epochs (loss is nan)"),
        ("failed", "", "failed after 8 of 8 epochs"),
        ("melted", "", "ended as melted after 8 epochs"),
    ],
)
def test_the_first_sentence_tells_how_it_ended(report: RunReportData, status: str, reason: str, text: str) -> None:
    assert f"backbone frozen) {text}, on" in training_sentence(replace(report, status=status, reason=reason))


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        ("model: resnet18\nweights: none", "resnet18 (from random weights) was"),
        ("model: alexnet\nweights: /w/mine.pth\nfreeze: layer3", "alexnet (from mine.pth, frozen up to layer3)"),
        ("model: resnet18", "resnet18 was"),
        ("", "scenes-frozen was"),
    ],
)
def test_the_first_sentence_tells_the_initial_weights(report: RunReportData, recipe: str, text: str) -> None:
    assert training_sentence(replace(report, recipe=recipe)).startswith(text)


def test_without_a_test_split_the_validation_accuracy_is_called_optimistic(report: RunReportData) -> None:
    text = score_sentence(replace(report, evaluation=None))
    assert text.startswith("It classifies 86.")
    assert "of 108 validation images correctly" in text
    assert "slightly optimistic" in text


def test_a_run_without_data_has_three_sentences_too() -> None:
    bare = RunReportData(name="r", status="running")
    assert verdict(bare).values["sentences"] == (
        "r is still training (0 epochs so far).",
        "It has not been evaluated.",
        "There is not enough data yet to check the run for problems.",
    )
    assert verdict(bare).values["figures"] == []


def test_the_figures_are_those_that_readers_look_for(report: RunReportData) -> None:
    figures = {name: value for name, value, _ in verdict(report).values["figures"]}
    assert figures == {
        "test accuracy": "89.2%",
        "macro F1": "0.892",
        "calibration error": "3.1%",
        "best epoch": "7",
        "training time": "31.2 s",
    }


def test_two_classes_show_their_roc_auc(report: RunReportData) -> None:
    two = replace(report, evaluation={**(report.evaluation or {}), "roc_auc": 0.837})
    assert ("ROC-AUC", "0.837", "0.5 is chance level, 1 is perfect") in verdict(two).values["figures"]


def test_the_third_sentence_is_the_first_root_cause_and_its_fix_can_be_typed(watched: RunReportData) -> None:
    section = verdict(watched)
    assert section.values["sentences"][2] == (
        "Look first at LearningRateTooHigh: from step 40 on the loss jumps by 41% from one step to the next "
        "and ends higher than it began."
    )
    assert section.values["fix"] == "--lr 0.0001 --warmup 0.1"
    assert section.values["more"] == (
        "Found by rules: DataWait, DeadRelu.",
        "The most frequent confusion: glacier is predicted as mountain for 7 of 40 images (17.5%).",
    )


def test_without_a_fix_the_advice_follows(report: RunReportData) -> None:
    section = verdict(replace(report, findings=[found("DeadRelu", cause="half of it is dead.", advice="use another")]))
    assert section.values["sentences"][2] == "Look first at DeadRelu: half of it is dead. Use another."
    assert section.values["fix"] == ""


def test_a_remark_comes_before_a_finding_that_is_information(report: RunReportData) -> None:
    section = verdict(replace(report, findings=[found("LoadBalancing", severity=Severity.INFO)]))
    assert section.values["sentences"][2].startswith("The most frequent confusion:")
    assert section.values["more"] == ("Found by rules: LoadBalancing.",)


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_lost_run_tells_the_reason_or_where_to_look(status: str) -> None:
    lost = RunReportData(name="r", status=status, reason="the loss is nan at step 7")
    first, _, third = verdict(lost).values["sentences"]
    assert "(the loss is nan at step 7)" in first
    assert third == "No rule found the reason; see the last lines of log.txt in the run folder."
    known = replace(lost, findings=[found("EarlyNaN", severity=Severity.SEVERE, cause="layer1 overflows")])
    assert verdict(known).values["sentences"][2] == "Look first at EarlyNaN: layer1 overflows."


def test_clear_rules_are_counted_among_the_checks() -> None:
    quiet = RunReportData(name="r", status="completed", findings=[clear("A"), clear("B")])
    assert verdict(quiet).values["sentences"][2] == "No problem was found. Checked: 2 rules."


def test_an_external_loop_is_described_by_its_speed(external: RunReportData) -> None:
    assert verdict(external).values["sentences"] == (
        "train.py finished after 1 min 01 s, with 300 timed training steps.",
        "A step takes 200 ms (median), at 640 images/s; 1.5% of the time is spent waiting for data.",
        "Look first at DataWait: the training thread waits for batches 62% of its time.",
    )
    failed = replace(external, status="failed", reason="exit code 1", seconds=0.0)
    assert training_sentence(failed) == "train.py failed (exit code 1), with 300 timed training steps."


def test_waiting_for_data_is_a_figure_where_it_was_timed(watched: RunReportData) -> None:
    assert ("waiting for data", "64.9%", "of the time of training steps") in verdict(watched).values["figures"]
