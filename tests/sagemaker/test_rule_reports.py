"""RuleReport: the JSON of each of the eleven rules, without numbers that were not measured."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.finding import Finding, Verdict
from clearsight.core.profile import Profile
from clearsight.profiler.rules.cpu_bottleneck import CPUBottleneck
from clearsight.testing.profiles import GPU_MACHINE, healthy_cpu, healthy_gpu, profile
from clearsight_sagemaker.rule_reports import RULES, distribution, recommendation, round_digits, rule_reports
from clearsight_sagemaker.run_profile import read_run
from tests.sagemaker.runs import run_folder

NODE = "algo-1"
PERCENTILES = ["max", "p99", "p95", "p50", "min"]


def reports(run: Path) -> dict[str, dict[str, Any]]:
    """Return the files by rule, as they are read from JSON."""
    written = {report.name: report.to_json() for report in rule_reports(read_run(run))}
    by_rule: dict[str, dict[str, Any]] = json.loads(json.dumps(written, allow_nan=False))
    return by_rule


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner)
    elif isinstance(value, int | float):
        yield value


@pytest.mark.parametrize(
    "found", [healthy_gpu(), healthy_gpu(gpus=2), healthy_cpu(), Profile()], ids=["gpu", "gpus", "cpu", "empty"]
)
def test_the_schema(tmp_path: Path, found: Profile) -> None:
    by_rule = reports(run_folder(tmp_path / "run", found))
    assert list(by_rule) == list(RULES) == sorted(RULES)
    for report in by_rule.values():
        assert list(report) == ["RuleTriggered", "Violations", "Details", "Datapoints", "RuleParameters"]
        kinds = [type(report[key]) for key in report]
        assert kinds == [int, int, dict, int, str]
        assert report["RuleTriggered"] in (0, 1)
        assert all(line.count(":") == 1 for line in report["RuleParameters"].splitlines())


def test_an_empty_profile_has_no_numbers(tmp_path: Path) -> None:
    by_rule = reports(run_folder(tmp_path / "run", Profile()))
    assert {report["Datapoints"] for report in by_rule.values()} == {0}
    assert {report["RuleTriggered"] for report in by_rule.values()} == {0}
    assert [number for report in by_rule.values() for number in numbers(report["Details"]) if number] == []


def test_a_rule_that_did_not_check_the_run_has_no_datapoints(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", healthy_gpu())
    (run / "findings.jsonl").unlink()
    by_rule = reports(run)
    with_data = {name for name, report in by_rule.items() if report["Datapoints"]}
    assert with_data == {"OverallFrameworkMetrics", "OverallSystemUsage"}, "they only report what there is"
    assert not any(report["RuleTriggered"] for report in by_rule.values())


def test_without_a_gpu_its_rules_have_no_datapoints(tmp_path: Path) -> None:
    by_rule = reports(run_folder(tmp_path / "run", healthy_cpu()))
    assert by_rule["GPUMemoryIncrease"]["Datapoints"] == by_rule["LoadBalancing"]["Datapoints"] == 0
    assert (
        by_rule["OverallSystemUsage"]["Details"]["GPU"] == by_rule["OverallSystemUsage"]["Details"]["GPU memory"] == {}
    )
    assert by_rule["CPUBottleneck"]["Details"] == {"low_gpu_utilization": 0, "bottlenecks": {}}
    assert by_rule["StepOutlier"]["Datapoints"] == 300


def test_one_gpu_is_not_out_of_balance(tmp_path: Path) -> None:
    assert reports(run_folder(tmp_path / "one", healthy_gpu()))["LoadBalancing"]["Datapoints"] == 0
    two = reports(run_folder(tmp_path / "two", healthy_gpu(gpus=2)))["LoadBalancing"]
    assert two["Datapoints"] > 0
    assert {gpu: sum(counts) for gpu, counts in two["Details"]["workloads"][NODE].items()} == {
        "gpu0": two["Datapoints"],
        "gpu1": two["Datapoints"],
    }


def test_system_usage(tmp_path: Path) -> None:
    run = healthy_gpu(gpus=2)
    details = reports(run_folder(tmp_path / "run", run))["OverallSystemUsage"]["Details"]
    assert list(details) == ["Network", "GPU", "CPU", "CPU memory", "GPU memory", "I/O"]
    assert all(list(nodes[NODE]) == PERCENTILES for nodes in details.values())
    cpu = run.within(run.gauge("cpu")).values
    assert details["CPU"][NODE]["p95"] == pytest.approx(np.percentile(cpu, 95), rel=1e-4)
    assert details["Network"][NODE]["p50"] == pytest.approx(2e4, rel=0.05), "received and sent"


def test_framework_metrics(tmp_path: Path) -> None:
    found = profile(
        steps=100, seconds=0.1, phases={"forward": 0.03, "backward": 0.06}, pauses={"validation": {50: 4.0}}
    )
    details = reports(run_folder(tmp_path / "run", found))["OverallFrameworkMetrics"]["Details"]
    assert details["ratio"] == pytest.approx({"forward": 30, "backward": 60})
    assert details["phase"] == pytest.approx({"forward": 3, "backward": 6})
    assert details["phase_time"] == pytest.approx(
        {"initialization": 5, "training_loop": 14, "finalization": 0}, abs=0.6
    )
    assert details["stretches"]["validation"] == pytest.approx(4)
    assert details["CPU"] == details["GPU"] == {}, "nothing was traced"


def test_a_bottleneck_is_counted_sample_by_sample(tmp_path: Path) -> None:
    found = profile(
        steps=300,
        phases={"data": 0.08},
        gauges={"gpu0": [5.0, 5.0, 5.0, 90.0], "gpu0.memory": 50.0, "cpu": 97.0, "cpu0": [99.0, 20.0]},
        machine=GPU_MACHINE,
    )
    report = reports(run_folder(tmp_path / "run", found))["CPUBottleneck"]
    assert report["RuleTriggered"] == 1
    idle = report["Details"]["low_gpu_utilization"]
    assert idle == pytest.approx(0.75 * report["Datapoints"], abs=2)
    assert report["Violations"] == report["Details"]["bottlenecks"]["cpu"] == idle
    assert report["Details"]["bottlenecks"]["cpu0"] == pytest.approx(2 / 3 * idle, abs=2)
    assert report["RuleParameters"].splitlines()[:3] == ["threshold:50", "gpu_threshold:10", "cpu_threshold:90"]


def test_parameters_of_the_run(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", healthy_gpu(), CPUBottleneck(threshold=35))
    (run / "recipe.yaml").write_text("debug:\n  rule: ['CPUBottleneck(threshold=35)']\n", encoding="utf-8")
    assert "threshold:35" in reports(run)["CPUBottleneck"]["RuleParameters"].splitlines()


def test_the_outliers_are_listed(tmp_path: Path) -> None:
    seconds = np.full(200, 0.1)
    long = [40, 80, 120, 160, 190]
    seconds[[step - 1 for step in long]] = 0.9
    seconds[0] = 5.0  # the first step warms up
    report = reports(run_folder(tmp_path / "run", profile(steps=200, seconds=seconds, noise=0.01)))["StepOutlier"]
    assert (report["RuleTriggered"], report["Violations"], report["Datapoints"]) == (1, 5, 200)
    details = report["Details"]["step_details"][NODE]
    assert [int(step) for step in details["outliers"]] == long
    assert details["seconds"]["p50"] == pytest.approx(0.1, rel=0.05)


def test_initialisation(tmp_path: Path) -> None:
    details = reports(run_folder(tmp_path / "run", profile(initialisation=30.0)))["MaxInitializationTime"]["Details"]
    assert details["step_num"] == 1
    assert details["job_end"] - details["job_start"] == pytest.approx(50, abs=0.6)


def test_loader_workers(tmp_path: Path) -> None:
    known, unknown = healthy_cpu(), profile(machine=replace(GPU_MACHINE, workers=None))
    assert reports(run_folder(tmp_path / "a", known))["Dataloader"]["Details"] == {"cores": 8, "dataloaders": {NODE: 8}}
    report = reports(run_folder(tmp_path / "b", unknown))["Dataloader"]
    assert (report["Details"]["dataloaders"], report["Datapoints"]) == ({}, 0)


def test_every_rule_is_described() -> None:
    assert len(RULES) == 11
    assert all(rule.description for rule in RULES.values())


def test_without_a_finding_the_general_remedy_is_recommended() -> None:
    assert recommendation("Dataloader", ()) == RULES["Dataloader"].recommendation


def test_fix_and_advice_of_the_finding_come_first() -> None:
    found = Finding(rule="Dataloader", verdict=Verdict.FOUND, fix={"workers": 8}, advice="Read with 8 workers.")
    assert recommendation("Dataloader", (found,)) == "Set --workers 8. Read with 8 workers."
    bare = Finding(rule="Dataloader", verdict=Verdict.FOUND)
    assert recommendation("Dataloader", (bare,)) == RULES["Dataloader"].recommendation


def test_percentiles() -> None:
    box = distribution(np.arange(101.0))
    assert box == {"max": 100, "p99": 99, "p95": 95, "p75": 75, "p50": 50, "p25": 25, "p5": 5, "min": 0}


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, -math.inf]])
def test_without_a_finite_number_there_is_no_distribution(values: list[float]) -> None:
    assert distribution(values) is None


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50))
def test_percentiles_are_in_order(values: list[float]) -> None:
    box = distribution(values)
    assert box is not None
    points = [*box.values()]
    assert points == sorted(points, reverse=True)
    assert points[0] == round_digits(max(values))
