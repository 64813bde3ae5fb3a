from __future__ import annotations

import shlex
from dataclasses import replace

import yaml

from clearsight.core.recipe import Recipe
from clearsight.reports.kit.section import PageSection
from clearsight.reports.run.provenance import provenance
from clearsight.reports.run.report_data import RunReportData


def section(facts: RunReportData) -> PageSection:
    made = provenance(facts)
    assert made is not None
    return made


def test_the_command_can_be_pasted_into_a_shell(facts: RunReportData) -> None:
    words = ["clearsight", "train", "my images; rm -rf /", "--lr", "0.1"]
    assert shlex.split(section(replace(facts, command=words)).values["command"]) == words


def test_the_recipe_is_the_one_that_was_trained(facts: RunReportData) -> None:
    shown = section(facts).values["recipe"]
    assert Recipe.parse(yaml.safe_load(shown)) == Recipe.parse(yaml.safe_load(facts.recipe))


def test_data_seed_versions_and_hardware_are_listed(facts: RunReportData) -> None:
    data, versions, hardware = section(facts).values["tables"]
    assert dict(data.rows)["seed"] == "0"
    assert dict(data.rows)["fingerprint (SHA-256)"] == facts.data["fingerprint"]
    assert dict(versions.rows)["torch"] == "2.11.0"
    assert dict(hardware.rows) == {"cpu": "2 cores", "memory": "24 GiB", "device": "cpu", "gpus": "none"}


def test_nested_hardware_is_flattened() -> None:
    facts = RunReportData(
        name="r", status="running", hardware={"gpu": {"name": "H200", "memory_gib": 139}, "mps": None}
    )
    assert dict(section(facts).values["tables"][0].rows) == {"gpu name": "H200", "gpu memory gib": "139", "mps": "–"}


def test_nothing_known_nothing_shown() -> None:
    assert provenance(RunReportData(name="r", status="running")) is None
