"""Every run has a profile of its machine and its steps. Measuring does not change the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest

from clearsight import open_run
from clearsight.core.errors import BadValue
from clearsight.core.finding import read_findings
from clearsight.core.judge import judge
from clearsight.core.machine import cores
from clearsight.core.profile import Profile
from clearsight.core.profile_folder import read_profile
from clearsight.core.run import Run
from clearsight.workflow.debug import debug
from clearsight.workflow.train import train

SETTINGS = {"model": "tiny", "weights": "none", "epochs": 2, "limit": 300, "batch_size": 16, "threads": 1, "workers": 1}


@pytest.fixture(scope="module")
def runs(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The same training at the three depths of --profile."""
    folder = tmp_path_factory.mktemp("runs")
    return {kind: train(digits, out=folder / kind, profile=kind, **SETTINGS) for kind in ("off", "light", "full")}


@pytest.fixture(scope="module")
def profile(runs: dict[str, Run]) -> Profile:
    """The profile of the run with the default depth."""
    return read_profile(runs["light"].path / "profile")


def test_every_step_is_timed_in_phases(runs: dict[str, Run], profile: Profile) -> None:
    table = profile.steps()
    trained = {row["step"] for row in runs["light"].metrics() if row["name"] == "loss"}
    assert set(table.steps.tolist()) == trained
    assert set(profile.phases()) == {"data", "transfer", "forward", "loss", "backward", "optimizer", "hook"}
    inside = np.sum([profile.phase(name) for name in profile.phases()], axis=0)
    assert (inside <= table.seconds + 1e-5).all()
    assert np.median(inside / table.seconds) > 0.8
    assert set(table.samples.tolist()) <= set(range(1, 17))


def test_loader_workers_are_timed_per_step(profile: Profile) -> None:
    assert np.nansum(profile.load("images")) >= profile.steps().samples.sum() * 0.9
    assert np.nansum(profile.load("decode")) > 0


def test_other_parts_of_the_run_are_spans(profile: Profile) -> None:
    assert len(profile.spans("initialisation")) == 1
    assert len(profile.spans("validation")) == 2
    assert profile.spans("checkpoint")


def test_the_first_step_is_timed_from_the_call(runs: dict[str, Run], profile: Profile) -> None:
    """The process began long before, as that of a notebook."""
    (start,) = profile.spans("initialisation")
    assert 0 <= start.start - runs["off"].started < 60
    assert start.start > psutil.Process().create_time() + 1, "torch was imported before the call"


def test_the_machine_is_recorded(profile: Profile) -> None:
    machine = profile.machine
    assert (machine.threads, machine.workers, machine.reading) == (1, 1, "threads")
    assert (machine.device, machine.gpus, machine.precision) == ("cpu", 0, "fp32")
    assert machine.cores == cores()
    assert machine.pixels_kept
    assert machine.batch_bytes == 16 * 32 * 32 * 3


def test_gauges_of_the_machine_are_sampled(profile: Profile) -> None:
    names = profile.gauges()
    assert {"cpu", "tree.memory", "memory"} <= set(names)
    assert not [name for name in names if name.startswith("gpu")]


def test_full_also_traces_a_few_steps(runs: dict[str, Run]) -> None:
    folder = runs["full"].path / "profile"
    trace = read_profile(folder).trace
    assert trace is not None
    assert trace.operators
    assert (folder / "trace.json.gz").stat().st_size > 0


def test_off_writes_no_profile_and_runs_no_rule_about_speed(runs: dict[str, Run]) -> None:
    assert not (runs["off"].path / "profile").exists()
    assert "DataWait" not in {finding.rule for finding in read_findings(runs["off"].path / "findings.jsonl")}
    assert not open_run(runs["off"].path).profile()


def test_measuring_does_not_change_the_weights(runs: dict[str, Run]) -> None:
    weights = {(run.bundle / "model.safetensors").read_bytes() for run in runs.values()}
    assert len(weights) == 1


def test_replayed_rules_give_the_same_findings(runs: dict[str, Run]) -> None:
    findings = read_findings(runs["light"].path / "findings.jsonl")
    diagnosis = debug(runs["light"].path)
    assert [(f.rule, f.verdict, f.value) for f in diagnosis.findings] == [
        (f.rule, f.verdict, f.value) for f in findings
    ]
    assert "DataWait" in {finding.rule for finding in findings}


def test_without_the_debugger_the_rules_about_speed_run(digits: Path, tmp_path: Path) -> None:
    run = train(digits, out=tmp_path / "run", debug="off", **{**SETTINGS, "epochs": 1})
    findings = {finding.rule for finding in read_findings(run.path / "findings.jsonl")}
    assert "DataWait" in findings
    assert "Overfit" not in findings


def test_a_resumed_run_continues_its_profile(digits: Path, tmp_path: Path) -> None:
    from clearsight.workflow.train import resume

    run = train(digits, out=tmp_path / "run", time_limit=0.01, **SETTINGS)
    before = read_profile(run.path / "profile").steps().steps
    run = resume(run.path)
    after = read_profile(run.path / "profile").steps().steps
    assert len(before) < len(after)
    assert after.tolist() == sorted(set(after.tolist()))


def test_an_interval_out_of_range_is_refused(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="profile_every"):
        train(digits, out=tmp_path / "run", profile_every=0.01)


def test_rules_are_pure_functions_of_the_folder(runs: dict[str, Run]) -> None:
    from clearsight.workflow.run.rules import recipe_rules, rules_about

    tape = open_run(runs["light"].path).tape()
    rules = rules_about("speed", recipe_rules(runs["light"].recipe))
    assert [f.to_json() for f in judge(rules, tape)] == [f.to_json() for f in judge(rules, tape)]
