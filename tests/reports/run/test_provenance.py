from __future__ import annotations

import shlex
from dataclasses import replace

import yaml

from clearsight.core.recipe import Recipe
from clearsight.reports.kit.section import PageSection
from clearsight.reports.run.provenance import SAMPLES_SHOWN, data, provenance
from clearsight.reports.run.report_data import RunReportData


def section(report: RunReportData) -> PageSection:
    built = provenance(report)
    assert built is not None
    return built


def test_the_command_can_be_pasted_into_a_shell(report: RunReportData) -> None:
    words = ["clearsight", "train", "my images; rm -rf /", "--lr", "0.1"]
    assert shlex.split(section(replace(report, command=words)).values["command"]) == words


def test_the_recipe_can_be_parsed_again(report: RunReportData) -> None:
    shown = section(report).values["recipe"]
    assert Recipe.parse(yaml.safe_load(shown)) == Recipe.parse(yaml.safe_load(report.recipe))


def test_data_seed_versions_and_hardware_are_listed(report: RunReportData) -> None:
    data, versions, hardware = section(report).values["tables"]
    assert dict(data.rows)["seed"] == "0"
    assert dict(data.rows)["fingerprint (SHA-256)"] == report.data["fingerprint"]
    assert dict(versions.rows)["torch"] == "2.11.0"
    assert dict(hardware.rows) == {"cpu": "2 cores", "memory": "24 GiB", "device": "cpu", "gpus": "none"}


def test_nested_hardware_is_flattened() -> None:
    report = RunReportData(
        name="r", status="running", hardware={"gpu": {"name": "H200", "memory_gib": 139}, "mps": None}
    )
    assert dict(section(report).values["tables"][0].rows) == {"gpu name": "H200", "gpu memory gib": "139", "mps": "–"}


def test_without_any_of_it_there_is_no_section() -> None:
    assert provenance(RunReportData(name="r", status="running")) is None


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
