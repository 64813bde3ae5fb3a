from __future__ import annotations

from dataclasses import replace

from clearsight.reports.run.data import SAMPLES_SHOWN, data
from clearsight.reports.run.report_data import RunReportData


def test_the_splits_are_counted(report: RunReportData) -> None:
    section = data(report)
    assert section is not None
    assert section.values["about"] == "6 classes; images: 612 train, 108 valid, 240 test, 60 predict."
    assert [panel.key for panel in section.panels] == ["counts"]


def test_imbalance_is_mentioned_where_there_is_any(report: RunReportData) -> None:
    uneven = {"classes": ["a", "b"], "counts": {"train": {"a": 36, "b": 10}}}
    section = data(replace(report, data=uneven))
    assert section is not None
    assert "The largest training class has 3.6 times as many images" in section.values["about"]


def test_without_data_there_is_no_section() -> None:
    assert data(RunReportData(name="r", status="running")) is None


def test_samples_are_shown_as_the_model_gets_them(watched: RunReportData) -> None:
    section = data(replace(watched, samples=list(watched.samples) * 10))
    assert section is not None
    assert len(section.values["samples"]) == SAMPLES_SHOWN
    assert section.values["samples"][0] == watched.samples[0]


def test_samples_alone_are_enough_for_a_section() -> None:
    section = data(RunReportData(name="r", status="running", samples=[{"id": 3, "label": "cat"}]))
    assert section is not None
    assert section.values["samples"] == [{"id": 3, "label": "cat", "thumbnail": ""}]
