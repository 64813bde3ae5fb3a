"""`clearsight.profile` measures the loop inside its block; `profile_of` reads the profile of any run."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from clearsight.core.errors import BadValue, NotFound, NotResumable
from clearsight.core.finding import read_findings
from clearsight.core.profile_folder import read_profile
from clearsight.debugger.hook import Hook
from clearsight.profiler.rules import PROFILER_RULES
from clearsight.workflow.profile import profile, profile_of
from tests.profiler.external.loops import Loop


def test_a_loop_in_the_block_is_profiled_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop, out = Loop(), tmp_path / "run"
    with profile(out) as p:
        for _ in range(3):
            loop.train()
            loop.evaluate()
    assert p.failure == ""
    found = read_profile(out / "profile")
    assert len(found.steps()) == 18
    assert set(found.phases()) >= {"data", "forward", "loss", "backward", "optimizer"}
    assert [span.name for span in found.all_spans if span.name == "validation"] == ["validation"] * 3
    assert found.gauges()
    assert (found.machine.batch_size, found.machine.workers, found.machine.reading) == (2, 0, "here")
    assert {finding.rule for finding in p.findings} <= set(PROFILER_RULES.names())
    assert read_findings(out / "findings.jsonl") == p.findings
    assert (out / "report.html").is_file()
    assert not (out / "profile" / "processes").exists()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"report   {out / 'report.html'}" in captured.err


def test_a_script_may_mark_its_steps_and_silence_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    breakdown = read_findings(out / "findings.jsonl")
    assert {finding.rule for finding in breakdown} == {f.rule for f in hook.findings} | {f.rule for f in p.findings}
    assert len(read_profile(out / "profile").steps()) == 18


def test_an_error_of_the_loop_is_raised_unchanged(tmp_path: Path) -> None:
    loop, out = Loop(), tmp_path / "run"

    def fail() -> None:
        with profile(out, quiet=True):
            loop.train()
            raise ArithmeticError("of the loop")

    with pytest.raises(ArithmeticError, match="of the loop"):
        fail()
    assert len(read_profile(out / "profile").steps()) == 6
    assert "failed" in (out / "report.html").read_text()


def test_a_failure_of_the_report_does_not_reach_the_script(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ArithmeticError("no page today")

    monkeypatch.setattr("clearsight.workflow.run.report.write_external_report", broken)
    with caplog.at_level(logging.WARNING), profile(tmp_path / "run", quiet=True) as p:
        Loop().train()
    assert p.failure == "ArithmeticError: no page today"
    assert len([record for record in caplog.records if "no page today" in record.message]) == 1


def test_mistakes_are_reported_before_profiling_starts(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="interval must be"):
        profile(tmp_path / "run", every=0.01)
    with pytest.raises(BadValue, match="at least one image"):
        profile(tmp_path / "run", batch_size=-1)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "profile").mkdir()
    with pytest.raises(NotResumable, match="a run is there already"):
        profile(tmp_path)


def test_weights_are_equal_with_and_without(tmp_path: Path) -> None:
    plain, profiled = Loop(), Loop()
    plain.train()
    with profile(tmp_path / "run", quiet=True):
        profiled.train()
    assert all(map(torch.equal, plain.model.parameters(), profiled.model.parameters()))


def test_a_profile_can_be_replayed_at_any_time(tmp_path: Path) -> None:
    with profile(tmp_path / "run", quiet=True) as p:
        Loop().train()
    replayed = profile_of(tmp_path / "run")
    assert [(f.rule, f.verdict) for f in replayed.findings] == [(f.rule, f.verdict) for f in p.findings]
    assert np.isclose(sum(phase["share"] for phase in replayed.phases().values()), 1.0, atol=0.02)


def test_a_folder_without_a_profile_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run in this folder"):
        profile_of(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(NotFound, match="was not profiled"):
        profile_of(tmp_path)
