from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.profile import Profile, Span, StepTimes
from clearsight.reports.run.step_times import StepPhases, outlier_steps, outlier_table, step_panels
from tests.reports.watched import busy_gpus, slow_profile


def steps(count: int, *, seconds: float = 0.1, slow: dict[int, float] | None = None, per: int = 20) -> list[StepTimes]:
    """Steps with 40 ms of waiting each. slow: step -> seconds that it waits longer."""
    rows, clock = [], 1000.0
    for step in range(1, count + 1):
        more = (slow or {}).get(step, 0.0)
        phases = {"data": 0.04 + more, "forward": 0.05}
        rows.append(
            StepTimes(
                step=step,
                epoch=(step - 1) // per + 1,
                start=clock,
                seconds=seconds + more,
                samples=32,
                phases=phases,
            )
        )
        clock += seconds + more + 0.01
    return rows


def test_without_timed_steps_nothing_is_shown() -> None:
    assert step_panels(StepPhases.of(Profile())) == []
    assert outlier_table(StepPhases.of(Profile()), Profile()).rows == ()


def test_the_first_steps_are_left_out_unless_there_are_no_others() -> None:
    assert len(StepPhases.of(Profile(step_times=steps(40))).steps) == 37
    assert len(StepPhases.of(Profile(step_times=steps(8))).steps) == 8


def test_time_in_no_phase_is_the_rest() -> None:
    timed = StepPhases.of(Profile(step_times=steps(40)))
    assert list(timed.phases) == ["data", "forward", "rest"]
    assert timed.phases["rest"].mean() == pytest.approx(0.01)
    assert timed.waiting == pytest.approx(0.4)
    assert timed.images_per_second == pytest.approx(320)


def test_a_phase_that_most_steps_lack_counts_as_no_time_in_them() -> None:
    rare = [
        StepTimes(step=i, epoch=1, start=float(i), seconds=1.0, phases={"hook": 1.0} if i % 10 == 0 else {"data": 1.0})
        for i in range(1, 11)
    ]
    assert StepPhases.of(Profile(step_times=rare)).phases["hook"].mean() == pytest.approx(0.1)


def test_phases_have_milliseconds_and_shares_in_an_open_table() -> None:
    panel = step_panels(StepPhases.of(Profile(step_times=steps(40))))[0]
    assert panel.unfolded
    assert panel.table.rows[0] == ("data", "40.00", "40.0%")
    assert panel.table.rows[-1] == ("whole step", "100.00", "100.0%")
    assert panel.description == "Phases of a step of 100.0 ms; the longest is forward with 50.0%."


def test_a_gpus_own_clock_has_a_bar_and_a_column_of_its_own() -> None:
    panel = step_panels(StepPhases.of(busy_gpus(1)))[0]
    assert list(panel.figure.layout.yaxis.ticktext) == ["GPU", "training thread"]
    forward = next(row for row in panel.table.rows if row[0] == "forward")
    assert float(forward[3]) == pytest.approx(60, rel=0.02)


def test_each_epoch_has_its_share_of_waiting() -> None:
    panel = step_panels(StepPhases.of(Profile(step_times=steps(60, slow=dict.fromkeys(range(41, 61), 0.1)))))[-1]
    assert [row[0] for row in panel.table.rows] == ["1", "2", "3"]
    assert panel.table.rows[1] == ("2", "100.0", "40.0%", "320")
    assert panel.table.rows[2] == ("3", "200.0", "70.0%", "160")


def test_many_epochs_are_grouped() -> None:
    panel = step_panels(StepPhases.of(Profile(step_times=steps(1000, per=10))))[-1]
    assert len(panel.table.rows) == 40
    assert panel.table.rows[0][0] == "1 to 3"


def test_a_pause_is_an_outlier_and_noise_is_not() -> None:
    noisy = 0.1 * (1 + 0.1 * np.clip(np.random.default_rng(0).standard_normal(500), -3, 3))
    assert len(outlier_steps(noisy)) == 0
    noisy[77] = 0.4
    assert outlier_steps(noisy).tolist() == [77]


def test_an_outlier_names_the_long_phase_and_what_happened_at_the_same_time() -> None:
    timed = steps(100, slow={30: 0.5, 41: 0.9, 70: 0.7})
    pause = Span(name="checkpoint", start=timed[69].start + 0.1, seconds=0.2)
    profile = Profile(step_times=timed, spans=[pause])
    rows = outlier_table(StepPhases.of(profile), profile).rows
    assert rows == (
        ("30", "2", "600", "6.0", "data (+500 ms)", ""),
        ("41", "3", "1,000", "10.0", "data (+900 ms)", "first step of an epoch"),
        ("70", "4", "800", "8.0", "data (+700 ms)", "checkpoint"),
    )


def test_the_longest_ten_are_listed() -> None:
    profile = Profile(step_times=steps(200, slow={step: step / 100 for step in range(20, 60)}))
    listed = [int(row[0]) for row in outlier_table(StepPhases.of(profile), profile).rows]
    assert listed == list(range(50, 60))


def test_outliers_do_not_narrow_the_histogram() -> None:
    panel = next(p for p in step_panels(StepPhases.of(slow_profile())) if p.key == "system-durations")
    assert sum(1 for count in panel.figure.data[0].y if count) > 5
    assert "The last bar holds 3 steps that took longer than" in panel.note
    assert sum(panel.figure.data[0].y) == 157
    assert float({row[0]: row[1] for row in panel.table.rows}["max"]) > 1000


def test_steps_of_equal_duration_have_a_histogram() -> None:
    same = [StepTimes(step=i, epoch=1, start=float(i), seconds=0.1) for i in range(1, 4)]
    assert [panel.key for panel in step_panels(StepPhases.of(Profile(step_times=same)))] == [
        "system-durations",
        "system-steps",
    ]
