"""TimedSteps leave out the warm-up, select the epochs that describe the run, and know what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.profile import Profile, StepTimes
from clearsight.profiler.analysis.timed_steps import steps_done, timed_steps
from clearsight.testing.profiles import GPU_MACHINE, START, profile


def test_the_first_three_steps_are_warm_up() -> None:
    assert timed_steps(profile(steps=10)).steps.tolist() == list(range(4, 11))


def test_steps_without_a_duration_are_left_out() -> None:
    seconds = np.full(10, 0.1)
    seconds[[5, 7]] = np.nan, 0.0
    bad = Profile(
        step_times=[StepTimes(step=i + 1, epoch=1, start=float(i), seconds=float(s)) for i, s in enumerate(seconds)]
    )
    assert timed_steps(bad).steps.tolist() == [4, 5, 7, 9, 10]


def test_shortfall_counts_steps_then_seconds() -> None:
    assert timed_steps(profile(steps=0)).shortfall() == {"have": 0, "want": 20}
    assert timed_steps(profile(steps=22)).shortfall() == {"have": 19, "want": 20}
    assert timed_steps(profile(steps=23, seconds=0.1)).shortfall() == {
        "have": 2, "want": 5, "of": "seconds of training",
    }  # fmt: skip
    assert timed_steps(profile(steps=23, seconds=0.3)).shortfall() == {}


@pytest.mark.parametrize(
    ("steps", "per_epoch", "first", "last"),
    [
        (200, 50, 151, 200),  # the last full epoch
        (180, 50, 101, 150),  # the one before, while the last goes on
        (200, 10, 151, 200),  # as many as make up five seconds
        (90, 50, 4, 90),  # too little after the first
        (110, 50, 51, 100),
        (60, 100, 4, 60),
    ],
)
def test_recent_steps_are_those_of_the_last_full_epochs(steps: int, per_epoch: int, first: int, last: int) -> None:
    assert timed_steps(profile(steps=steps, seconds=0.11, per_epoch=per_epoch)).recent().step_range == (first, last)


def test_the_gpus_clock_counts_if_it_was_read() -> None:
    phases, device = {"data": 0.08, "transfer": 0.01}, {"data": [0.02, np.nan]}
    waits = timed_steps(profile(steps=20, phases=phases, device=device, machine=GPU_MACHINE)).wait_seconds()
    assert waits[:7] == pytest.approx(0.03)
    assert waits[7:] == pytest.approx(0.09)


def test_waits_are_never_longer_than_the_step_and_unknown_where_not_timed() -> None:
    waits = timed_steps(profile(steps=20, phases={"data": [0.3, np.nan]})).wait_seconds()
    assert waits[:7] == pytest.approx(0.1)
    assert np.isnan(waits[7:]).all()
    assert np.isnan(timed_steps(profile(steps=20)).wait_share())


def test_steps_done_counts_fractions_of_steps() -> None:
    measured = profile(steps=10, seconds=1.0)
    assert steps_done(measured, START + np.array([1.0, 2.5, 99.0])) == pytest.approx([1.0, 2.5, 10.0])
    assert np.isnan(steps_done(Profile(), np.array([1.0]))).all()
