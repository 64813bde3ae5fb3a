from __future__ import annotations

import shlex
from dataclasses import replace

import yaml

from clearsight.core.recipe import Recipe
from clearsight.reports.kit.section import PageSection
from clearsight.reports.run.provenance import provenance
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
