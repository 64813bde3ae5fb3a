from __future__ import annotations

from dataclasses import replace

from clearsight.reports.run.data import PATHS_LISTED, SAMPLES_SHOWN, data, noticed
from clearsight.reports.run.report_data import RunReportData


def test_the_splits_are_counted(facts: RunReportData) -> None:
    section = data(facts)
    assert section is not None
    assert section.values["about"] == "6 classes; images: 612 train, 108 valid, 240 test, 60 predict."
    assert [panel.key for panel in section.panels] == ["counts"]


def test_imbalance_is_said_where_there_is_any(facts: RunReportData) -> None:
    uneven = {"classes": ["a", "b"], "counts": {"train": {"a": 36, "b": 10}}}
    section = data(replace(facts, data=uneven))
    assert section is not None
    assert "The largest training class has 3.6 times" in section.values["about"]


def test_notices_keep_their_words_and_the_first_of_their_paths() -> None:
    shown = noticed({"code": "bad-image", "text": "bad", "paths": [f"{i}.jpg" for i in range(60)]})
    assert (shown["text"], shown["code"], shown["about"]) == ("bad", "bad-image", "60 images")
    assert len(shown["paths"]) == PATHS_LISTED
    assert shown["left"] == 10
    assert noticed({"code": "c", "text": "no paths"})["paths"] == []


def test_nothing_known_nothing_shown() -> None:
    assert data(RunReportData(name="r", status="running")) is None


def test_images_as_the_model_sees_them_are_shown(watched: RunReportData) -> None:
    section = data(replace(watched, samples=list(watched.samples) * 10))
    assert section is not None
    assert len(section.values["samples"]) == SAMPLES_SHOWN
    assert section.values["samples"][0] == watched.samples[0]


def test_images_alone_are_worth_a_section() -> None:
    section = data(RunReportData(name="r", status="running", samples=[{"id": 3, "label": "cat"}]))
    assert section is not None
    assert section.values["samples"] == [{"id": "3", "label": "cat", "thumbnail": ""}]
