"""RunProfile: a run folder is read, of clearsight or of a profiled script."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.errors import BadData, NotFound
from clearsight.core.profile import Profile
from clearsight.core.recipe import Recipe
from clearsight.testing.profiles import START, healthy_gpu, profile
from clearsight_sagemaker.rule_reports import RULES
from clearsight_sagemaker.run_profile import read_run
from tests.sagemaker.runs import run_folder


def test_the_stages_of_a_job(tmp_path: Path) -> None:
    run = run_folder(
        tmp_path / "run", profile(steps=100, seconds=0.1, initialisation=7.0, pauses={"finalisation": {100: 2.0}})
    )
    stages = read_run(run).stages
    assert stages is not None
    assert stages.start == pytest.approx(START - 7)
    assert stages.initialisation == pytest.approx(7)
    assert stages.training == pytest.approx(10)
    assert stages.finalisation == pytest.approx(2)
    assert stages.end == pytest.approx(START + 12)


def test_without_a_timed_step_there_are_no_stages(tmp_path: Path) -> None:
    assert read_run(run_folder(tmp_path / "run", Profile())).stages is None


def test_findings_by_rule(tmp_path: Path) -> None:
    run = read_run(run_folder(tmp_path / "run", healthy_gpu()))
    assert all(run.findings.get(rule) for rule in RULES)
    assert [rule for rule in RULES if run.found(rule)] == []
    assert run.gpus == ("gpu0",)


def test_parameters_are_those_of_the_run_if_known(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", healthy_gpu())
    assert read_run(run).parameters("CPUBottleneck")["threshold"] == 50
    recipe = Recipe.parse({"debug": {"rule": ["CPUBottleneck(threshold=35)"]}})
    (run / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    assert read_run(run).parameters("CPUBottleneck")["threshold"] == 35
    gone = Recipe.parse({"debug": {"rule": ["gone.py:Mine"]}})
    (run / "recipe.yaml").write_text(gone.to_yaml(), encoding="utf-8")
    assert read_run(run).parameters("CPUBottleneck")["threshold"] == 50


def test_a_missing_folder_or_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such folder"):
        read_run(tmp_path / "gone")
    with pytest.raises(NotFound, match="no run in this folder"):
        read_run(tmp_path)


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", healthy_gpu(steps=30))
    (run / "findings.jsonl").write_text('{"rule": \n{}\n', encoding="utf-8")
    with pytest.raises(BadData, match="damaged"):
        read_run(run)
