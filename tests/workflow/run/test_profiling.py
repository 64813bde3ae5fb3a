"""A run is measured: on what it ran, where its steps spent their time, and without a trace in what it learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clearsight.core.errors import BadValue
from clearsight.core.finding import read_findings
from clearsight.core.judge import judge
from clearsight.core.machine import cores
from clearsight.core.profile import Profile
from clearsight.core.profile_folder import read_profile
from clearsight.core.run import Run
from clearsight.workflow.debug import debug
from clearsight.workflow.open import open_run
from clearsight.workflow.train import fit

SETTINGS = {"model": "tiny", "weights": "none", "epochs": 2, "limit": 300, "batch_size": 16, "threads": 1, "workers": 1}


@pytest.fixture(scope="module")
def runs(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The same training, measured in three ways."""
    folder = tmp_path_factory.mktemp("runs")
    return {kind: fit(digits, out=folder / kind, profile=kind, **SETTINGS) for kind in ("off", "light", "full")}


@pytest.fixture(scope="module")
def profile(runs: dict[str, Run]) -> Profile:
    """What was measured of the run as it is by default."""
    return read_profile(runs["light"].path / "profile")


def test_every_step_is_timed_and_its_phases_fill_it(runs: dict[str, Run], profile: Profile) -> None:
    table = profile.steps()
    trained = {row["step"] for row in runs["light"].metrics() if row["name"] == "loss"}
    assert set(table.steps.tolist()) == trained
    assert set(profile.phases()) == {"data", "transfer", "forward", "loss", "backward", "optimizer", "hook"}
    inside = np.sum([profile.phase(name) for name in profile.phases()], axis=0)
    assert (inside <= table.seconds + 1e-5).all()
    assert np.median(inside / table.seconds) > 0.8
    assert set(table.samples.tolist()) <= set(range(1, 17))


def test_readers_are_timed_with_the_steps(profile: Profile) -> None:
    assert np.nansum(profile.load("images")) >= profile.steps().samples.sum() * 0.9
    assert np.nansum(profile.load("decode")) > 0


def test_the_rest_of_the_run_is_in_stretches(profile: Profile) -> None:
    assert len(profile.spans("initialisation")) == 1
    assert len(profile.spans("validation")) == 2
    assert profile.spans("checkpoint")


def test_says_on_what_it_ran(profile: Profile) -> None:
    machine = profile.machine
    assert (machine.threads, machine.workers, machine.reading) == (1, 1, "threads")
    assert (machine.device, machine.gpus, machine.precision) == ("cpu", 0, "fp32")
    assert machine.cores == cores()
    assert machine.pixels_kept
    assert machine.batch_bytes == 16 * 32 * 32 * 3


def test_the_machine_is_looked_at(profile: Profile) -> None:
    names = profile.gauges()
    assert {"cpu", "tree.memory", "memory"} <= set(names)
    assert not [name for name in names if name.startswith("gpu")]


def test_full_traces_a_few_steps_more(runs: dict[str, Run]) -> None:
    folder = runs["full"].path / "profile"
    trace = read_profile(folder).trace
    assert trace is not None
    assert trace.operators
    assert (folder / "trace.json.gz").stat().st_size > 0


def test_off_leaves_nothing_and_asks_no_rule(runs: dict[str, Run]) -> None:
    assert not (runs["off"].path / "profile").exists()
    assert "DataWait" not in {finding.rule for finding in read_findings(runs["off"].path / "findings.jsonl")}
    assert not open_run(runs["off"].path).profile()


def test_measuring_changes_nothing_that_is_learned(runs: dict[str, Run]) -> None:
    weights = {(run.bundle / "model.safetensors").read_bytes() for run in runs.values()}
    assert len(weights) == 1


def test_asked_again_the_rules_say_the_same(runs: dict[str, Run]) -> None:
    told = read_findings(runs["light"].path / "findings.jsonl")
    again = debug(runs["light"].path)
    assert [(f.rule, f.verdict, f.value) for f in again.findings] == [(f.rule, f.verdict, f.value) for f in told]
    assert "DataWait" in {finding.rule for finding in told}


def test_without_the_debugger_rules_about_speed_speak_still(digits: Path, tmp_path: Path) -> None:
    run = fit(digits, out=tmp_path / "run", debug="off", **{**SETTINGS, "epochs": 1})
    told = {finding.rule for finding in read_findings(run.path / "findings.jsonl")}
    assert "DataWait" in told
    assert "Overfit" not in told


def test_a_resumed_run_goes_on_measuring(digits: Path, tmp_path: Path) -> None:
    from clearsight.workflow.train import resume

    run = fit(digits, out=tmp_path / "run", time_limit=0.01, **SETTINGS)
    before = read_profile(run.path / "profile").steps().steps
    run = resume(run.path)
    after = read_profile(run.path / "profile").steps().steps
    assert len(before) < len(after)
    assert after.tolist() == sorted(set(after.tolist()))


def test_an_interval_out_of_range_is_refused(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="profile_every"):
        fit(digits, out=tmp_path / "run", profile_every=0.01)


def test_rules_are_pure_over_the_folder(runs: dict[str, Run]) -> None:
    from clearsight.workflow.run.rules import about, rules_of

    tape = open_run(runs["light"].path).tape()
    rules = about("speed", rules_of(runs["light"].recipe))
    assert [f.to_json() for f in judge(rules, tape)] == [f.to_json() for f in judge(rules, tape)]
