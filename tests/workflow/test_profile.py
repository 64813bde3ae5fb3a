"""profile: two lines around a loop of one's own, and the breakdown of any run."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from clearsight.core.errors import BadValue, NotFound, NotResumable
from clearsight.core.finding import Finding, Verdict, read_findings
from clearsight.core.profile import GaugeSample, Profile, StepTimes
from clearsight.core.profile_folder import read_profile
from clearsight.debugger.hook import Hook
from clearsight.profiler.rules import PROFILER_RULES
from clearsight.workflow.profile import Breakdown, profile, profile_of
from tests.profiler.external.loops import Loop


def test_a_loop_in_the_block_is_profiled_judged_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop, out = Loop(), tmp_path / "run"
    with profile(out) as p:
        for _ in range(3):
            loop.train()
            loop.evaluate()
    assert p.failure == ""
    found = read_profile(out / "profile")
    assert len(found.steps()) == 18
    assert set(found.phases()) >= {"data", "forward", "loss", "backward", "optimizer"}
    assert [span.name for span in found.stretches if span.name == "validation"] == ["validation"] * 3
    assert found.gauges()
    assert (found.machine.batch_size, found.machine.workers, found.machine.reading) == (2, 0, "here")
    assert {finding.rule for finding in p.findings} <= set(PROFILER_RULES.names())
    assert read_findings(out / "findings.jsonl") == p.findings
    assert (out / "report.html").is_file()
    assert not (out / "profile" / "processes").exists()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"report   {out / 'report.html'}" in captured.err


def test_a_script_may_say_its_steps_and_be_left_in_peace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with profile(tmp_path / "run", quiet=True, batch_size=4) as p:
        for _ in range(5):
            p.step(4)
    assert read_profile(tmp_path / "run" / "profile").steps().samples.tolist() == [4] * 4
    assert read_profile(tmp_path / "run" / "profile").machine.batch_size == 4
    assert capsys.readouterr().err == ""


def test_findings_of_a_hook_in_the_same_folder_survive(tmp_path: Path) -> None:
    loop, out = Loop(), tmp_path / "run"
    with profile(out, quiet=True) as p, Hook(out, quiet=True) as hook:
        hook.watch(loop.model, loss=loop.criterion, optimizer=loop.optimizer)
        for _ in range(3):
            loop.train()
    told = read_findings(out / "findings.jsonl")
    assert {finding.rule for finding in told} == {f.rule for f in hook.findings} | {f.rule for f in p.findings}
    assert len(read_profile(out / "profile").steps()) == 18


def test_an_error_in_the_loop_is_the_loops_own(tmp_path: Path) -> None:
    loop, out = Loop(), tmp_path / "run"

    def fail() -> None:
        with profile(out, quiet=True):
            loop.train()
            raise ArithmeticError("mine")

    with pytest.raises(ArithmeticError, match="mine"):
        fail()
    assert len(read_profile(out / "profile").steps()) == 6
    assert "failed" in (out / "report.html").read_text()


def test_what_fails_afterwards_does_not_reach_the_script(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError("no page today")

    monkeypatch.setattr("clearsight.workflow.run.report.write_foreign_report", broken)
    with caplog.at_level(logging.WARNING), profile(tmp_path / "run", quiet=True) as p:
        Loop().train()
    assert p.failure == "ArithmeticError: no page today"
    assert len([record for record in caplog.records if "no page today" in record.message]) == 1


def test_mistakes_are_told_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="looks are"):
        profile(tmp_path / "run", every=0.01)
    with pytest.raises(BadValue, match="at least one image"):
        profile(tmp_path / "run", batch_size=-1)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "profile").mkdir()
    with pytest.raises(NotResumable, match="a run is there already"):
        profile(tmp_path)


def test_weights_are_equal_with_and_without(tmp_path: Path) -> None:
    plain, watched = Loop(), Loop()
    plain.train()
    with profile(tmp_path / "run", quiet=True):
        watched.train()
    assert all(map(torch.equal, plain.model.parameters(), watched.model.parameters()))


STEPS = [
    StepTimes(step=i + 1, epoch=1, start=100.0 + i, seconds=1.0, samples=8, phases={"data": 0.25, "forward": 0.5})
    for i in range(4)
]
GAUGES = [GaugeSample(time=100.0 + i, values={"cpu": 10.0 * i}) for i in range(-5, 4)]


def test_the_breakdown_of_a_run() -> None:
    told = Breakdown(profile=Profile(None, GAUGES, STEPS), findings=[]).to_json()
    assert told["steps"] == {
        "count": 4.0,
        "samples": 32.0,
        "mean": 1.0,
        "p50": 1.0,
        "p95": 1.0,
        "max": 1.0,
        "images_per_second": 8.0,
    }
    assert {name: one["share"] for name, one in told["phases"].items()} == {"data": 0.25, "forward": 0.5, "rest": 0.25}
    assert set(told["phases"]["data"]) == {"mean", "p50", "p95", "share"}
    assert told["gauges"]["cpu"] == pytest.approx({"min": 0, "p50": 15, "p95": 28.5, "p99": 29.7, "max": 30})
    assert json.dumps(told, allow_nan=False)


def test_the_breakdown_of_gauges_alone_takes_them_all() -> None:
    told = Breakdown(profile=Profile(None, GAUGES), findings=[]).to_json()
    assert told["steps"] == {"count": 0.0, "samples": 0.0}
    assert told["phases"] == {}
    assert told["gauges"]["cpu"]["min"] == -50


def test_findings_in_json_have_no_nan() -> None:
    finding = Finding(rule="DataWait", verdict=Verdict.CLEAR, value=float("nan"))
    told = Breakdown(profile=Profile(), findings=[finding]).to_json()["findings"]
    assert told[0]["value"] is None
    assert "evidence" not in told[0]


def test_a_folder_is_asked_again_at_any_time(tmp_path: Path) -> None:
    with profile(tmp_path / "run", quiet=True) as p:
        Loop().train()
    again = profile_of(tmp_path / "run")
    assert [(f.rule, f.verdict) for f in again.findings] == [(f.rule, f.verdict) for f in p.findings]
    assert np.isclose(sum(phase["share"] for phase in again.phases().values()), 1.0, atol=0.02)


def test_where_nothing_was_profiled_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run in this folder"):
        profile_of(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(NotFound, match="was not profiled"):
        profile_of(tmp_path)
