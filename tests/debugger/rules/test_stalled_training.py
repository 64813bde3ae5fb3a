"""StalledTraining judges the saved durations of steps."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.errors import BadValue
from clearsight.core.finding import Verdict
from clearsight.debugger.rules.stalled_training import StalledTraining
from clearsight.debugger.storage.tape import Tape
from clearsight.testing.tapes import flat, noisy, tape
from tests.debugger.rules.runs import only

STEPS = 50


def rule() -> StalledTraining:
    return StalledTraining()


def run(*slow: tuple[int, float], steps: int = STEPS) -> Tape:
    """Return a run. slow: (step, seconds) of the steps that took longer than the usual half second."""
    seconds = noisy(flat(0.5, steps))
    for step, duration in slow:
        seconds[step - 1] = duration
    return tape(loss=flat(1.0, steps), step_seconds=seconds)


def fault() -> Tape:
    return run((30, 2400.0))


def control() -> Tape:
    return run((1, 20.0), (30, 8.0))


def test_found_when_a_step_takes_forever() -> None:
    finding = only(rule(), fault())
    assert finding.verdict is Verdict.FOUND
    assert finding.steps == (30, 30)
    assert finding.cause == "step 30 took 2400 s, where the median is 0.5 s"
    assert finding.advice


def test_found_when_a_step_is_unlike_all_others() -> None:
    finding = only(rule(), run((30, 90.0), (40, 95.0)))
    assert finding.found
    assert finding.steps == (30, 40)
    assert finding.threshold == 60


def test_pauses_under_a_minute_and_a_slow_first_step_are_clear() -> None:
    assert only(rule(), control()).verdict is Verdict.CLEAR
    assert only(rule(), run((1, 300.0))).verdict is Verdict.CLEAR


def test_few_steps_only_know_the_threshold() -> None:
    assert only(rule(), run((4, 90.0), steps=5)).verdict is Verdict.CLEAR
    assert only(rule(), run((4, 1900.0), steps=5)).found


def test_nonfinite_durations_are_left_out() -> None:
    assert only(rule(), run((10, np.nan), (30, 2400.0))).found


def test_not_enough_data_without_durations() -> None:
    finding = only(rule(), tape(loss=flat(1.0, STEPS)))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.cause == "the durations of steps were not saved"


def test_sagemakers_names_are_accepted() -> None:
    words = {"threshold": "120", "stop_training_on_fire": "True", "training_job_name_prefix": "job"}
    assert StalledTraining.parse(words) == StalledTraining(threshold=120)
    assert StalledTraining.also == ("StalledTrainingRule",)
    with pytest.raises(BadValue):
        StalledTraining.parse({"threshold": "0"})
