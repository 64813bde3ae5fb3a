from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.profile import GaugeSample, Profile, Span, StepTimes
from clearsight.reports.charts.gauges import (
    GIB,
    TimeAxis,
    core_gauges,
    downsampled,
    format_reading,
    gauge_label,
    gauge_series,
    lines_table,
    percentile_table,
    shaded_spans,
    time_range,
)


def samples(values: list[float], *, name: str = "cpu", every: float = 1.0) -> list[GaugeSample]:
    return [GaugeSample(time=100 + i * every, values={name: value}) for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("every", "title"),
    [(1, "seconds since the start"), (60, "minutes since the start"), (3600, "hours since the start")],
)
def test_the_unit_of_time_fits_the_length_of_the_job(every: float, title: str) -> None:
    profile = Profile(gauge_samples=samples([1.0] * 10, every=every))
    assert TimeAxis.of(profile).title == title
    assert gauge_series(profile, "cpu", TimeAxis.of(profile)).times.tolist() == list(range(10))


def test_a_job_lasts_from_the_first_to_the_last_measurement() -> None:
    steps = [StepTimes(step=1, epoch=1, start=104, seconds=7)]
    spans = [Span(name="initialisation", start=90, seconds=10)]
    assert time_range(Profile(gauge_samples=samples([1.0]), step_times=steps, spans=spans)) == (90, 111)
    assert time_range(Profile()) == (0, 0)


def test_many_readings_become_the_means_of_equal_parts() -> None:
    times, values = downsampled(np.arange(10_000.0), np.tile([0.0, 100.0], 5000), 100)
    assert len(times) == len(values) == 100
    assert set(values) == {50.0}
    assert (np.diff(times) > 0).all()


def test_no_reading_is_lost_when_parts_are_uneven() -> None:
    values = np.random.default_rng(0).random(1009)
    assert downsampled(np.arange(1009.0), values, 600)[1].mean() == pytest.approx(values.mean(), rel=0.02)


def test_readings_are_in_the_unit_of_their_gauge() -> None:
    profile = Profile(gauge_samples=samples([2.0**31, 2.0**32], name="tree.memory"))
    assert gauge_series(profile, "tree.memory", TimeAxis.of(profile)).values.tolist() == [2.0, 4.0]


def test_percentiles_count_only_readings_during_training() -> None:
    steps = [StepTimes(step=1, epoch=1, start=105, seconds=4)]
    profile = Profile(gauge_samples=samples([99.0] * 5 + [10.0, 20.0, 30.0, 40.0, 50.0]), step_times=steps)
    (row,) = percentile_table(profile, ["cpu", "gpu0"]).rows
    assert row == ("cores (all programs)", "cpu", "10%", "30%", "48%", "49.6%", "50%")


def test_without_training_steps_every_reading_counts() -> None:
    assert percentile_table(Profile(gauge_samples=samples([5.0])), ["cpu"]).rows[0][2] == "5%"


def test_spans_outside_of_training_are_shaded_unless_they_are_too_many() -> None:
    spans = [Span(name="validation", start=102, seconds=3)]
    profile = Profile(gauge_samples=samples([1.0] * 9), spans=spans)
    assert shaded_spans(profile, TimeAxis.of(profile)) == [(2.0, 5.0)]
    assert shaded_spans(Profile(gauge_samples=samples([1.0] * 9), spans=spans * 100), TimeAxis.of(profile)) == []


def test_the_table_behind_lines_has_few_rows() -> None:
    profile = Profile(
        gauge_samples=[*samples([1.0] * 500), GaugeSample(time=600, values={"cpu": 1.0, "cpu.iowait": 9.0})]
    )
    clock = TimeAxis.of(profile)
    table = lines_table("t", [gauge_series(profile, name, clock) for name in ("cpu", "cpu.iowait")], "%", clock)
    assert len(table.rows) == 24
    assert table.columns == ("minutes", "cores (all programs)", "cores waiting for I/O")


@pytest.mark.parametrize(
    ("gauge", "title", "unit"),
    [
        ("cpu", "cores (all programs)", "%"),
        ("cpu12", "core 12", "%"),
        ("gpu0", "GPU 0", "%"),
        ("gpu3.memory_bytes", "GPU 3 memory in use", "GiB"),
        ("tree.memory", "memory of this job", "GiB"),
    ],
)
def test_a_gauge_has_a_title_and_a_unit(gauge: str, title: str, unit: str) -> None:
    assert gauge_label(gauge)[:2] == (title, unit)


@pytest.mark.parametrize("gauge", ["gpu0.unheard_of", "cpux", "<b>", ""])
def test_an_unknown_gauge_keeps_its_name(gauge: str) -> None:
    assert gauge_label(gauge) == (gauge, "", 1.0)


def test_cores_are_sorted_by_number() -> None:
    assert core_gauges(("cpu10", "cpu", "cpu2", "cpu.iowait", "gpu0")) == ["cpu2", "cpu10"]


def test_readings_have_few_digits() -> None:
    assert format_reading(3.14159, "%") == "3.14%"
    assert format_reading(42.42, "GiB") == "42.4 GiB"
    assert format_reading(1240.4, "MHz") == "1,240 MHz"
    assert format_reading(7.0, "") == "7"
    assert format_reading(0.0, "%") == "0%"
    assert format_reading(None, "%") == "–"
    assert gauge_label("tree.memory").scale == GIB
