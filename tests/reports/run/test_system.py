from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.profile import GaugeSample, Profile, Span, StepTimes, Trace
from clearsight.reports.run.report_data import RunReportData
from clearsight.reports.run.system import job_parts, system
from clearsight.testing.profiles import START, profile


def titles(report: RunReportData) -> list[str]:
    return [part.title for part in system(report).values["parts"]]


def test_every_measurement_has_a_part(watched: RunReportData) -> None:
    assert titles(watched) == [
        "Where the time went",
        "Training steps",
        "What the machine did",
        "Loading of data",
        "Batch size",
        "Operators",
        "Hot lines",
        "What would make it faster",
        "Settings that were tried",
    ]
    assert system(watched).values["hint"] == ""


@pytest.mark.parametrize("measured", [None, Profile()])
def test_a_run_without_a_profile_tells_how_to_get_one(measured: Profile | None) -> None:
    section = system(RunReportData(name="r", status="completed", profile=measured))
    assert section.values["parts"] == []
    assert section.panels == ()
    assert "clearsight profile -- python train.py" in section.values["hint"]


def test_steps_alone_have_parts(watched: RunReportData) -> None:
    measured = profile(steps=30)
    assert titles(RunReportData(name="r", status="running", profile=measured)) == [
        "Where the time went",
        "Training steps",
        "What the machine did",
        "Loading of data",
    ]


def test_the_time_of_a_job_adds_up() -> None:
    measured = profile(steps=100, seconds=0.1, pauses={"validation": {50: 2.0, 100: 2.0}}, initialisation=6.0)
    parts = job_parts(measured)
    assert list(parts) == ["initialisation", "training", "validation"]
    assert parts == pytest.approx({"initialisation": 6.0, "training": 10.0, "validation": 4.0})


def test_unaccounted_time_is_the_rest() -> None:
    measured = profile(steps=100, seconds=0.1, initialisation=0.0)
    gap = [replace(step, start=step.start + (10.0 if step.step > 50 else 0.0)) for step in measured.step_times]
    assert job_parts(Profile(step_times=gap)) == pytest.approx({"training": 10.0, "rest": 10.0})


def test_the_slowest_operators_are_listed(watched: RunReportData) -> None:
    (operators,) = [table for table in system(watched).tables if table.caption.startswith("Operators")]
    assert len(operators.rows) == 15
    assert operators.rows[0] == ("aten::op1<&>", "2", "10.00", "27.8%", "1.0")


def test_on_a_gpu_operators_are_ranked_by_its_time(watched: RunReportData) -> None:
    trace = watched.profile.trace if watched.profile else None
    assert isinstance(trace, Trace)
    moved = replace(trace, operators=(replace(trace.operators[9], device_seconds=1.0), replace(trace.operators[0])))
    measured = Profile(step_times=profile(steps=30).step_times, trace=moved)
    (operators,) = system(RunReportData(name="r", status="completed", profile=measured)).tables
    assert operators.columns[3] == "GPU ms per step"
    assert [row[0] for row in operators.rows] == ["aten::op10<&>", "aten::op1<&>"]
    assert operators.rows[0][3:5] == ("200.00", "100.0%")


def test_estimates_tried_settings_and_hot_lines_are_listed(watched: RunReportData) -> None:
    tables = {table.caption: table.rows for table in system(watched).tables}
    assert tables["What would make it faster"][0][:5] == (
        "enough loader workers",
        "--workers 4",
        "313",
        "702",
        "2.24 ×",
    )
    assert tables["Settings that were tried"][1] == ("--workers 2 --threads 2", "131", "± 1.9", "chosen", "")
    assert tables["Hot lines"][0] == ("train.py:42 decode", "83.0%")


def test_a_tuning_without_changes() -> None:
    tuning = {"chosen": {}, "rows": [], "why": "It was as fast as it gets."}
    (part,) = system(RunReportData(name="r", status="completed", tuning=tuning)).values["parts"]
    assert part.sentences == ["Nothing was changed.", "It was as fast as it gets."]


@pytest.mark.parametrize(
    "measured",
    [
        Profile(spans=[Span(name="initialisation", start=1.0, seconds=2.0)]),
        Profile(step_times=[StepTimes(step=1, epoch=1, start=1.0, seconds=0.0, phases={"data": 0.0})]),
        Profile(gauge_samples=[GaugeSample(time=1.0, values={"cpu": 3.0})]),
        Profile(
            gauge_samples=[GaugeSample(time=1.0, values={"cpu": 3.0}, rank=1)], step_times=profile(steps=5).step_times
        ),
    ],
)
def test_a_run_that_ended_early_shows_what_was_measured(measured: Profile) -> None:
    section = system(RunReportData(name="r", status="failed", profile=measured))
    assert section.panels


def test_the_feature_pass_is_not_counted_twice() -> None:
    spans = [
        Span(name="initialisation", start=START, seconds=60.0),
        Span(name="features", start=START + 10, seconds=45.0),
    ]
    measured = profile(steps=20, seconds=1.0)
    parts = job_parts(Profile(measured.machine, (), measured.step_times, spans))
    assert (parts["initialisation"], parts["features"]) == (15.0, 45.0)
