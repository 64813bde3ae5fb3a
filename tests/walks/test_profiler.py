"""Planted performance faults are found: a slow decoder, too many threads, a memory leak."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import clearsight
from clearsight.core.dataset import Pixels
from clearsight.core.finding import Finding, read_findings
from clearsight.core.machine import cores
from clearsight.core.run import Run
from clearsight.data import loader as loading
from clearsight.workflow.train import train
from tests.walks.commands import run

pytestmark = pytest.mark.slow

SMALL = {"model": "tiny", "weights": "none", "image_size": 32, "batch_size": 8}


def finding_of(folder: Path, rule: str) -> Finding:
    """Return the finding of a rule about the run in `folder`."""
    return next(finding for finding in read_findings(folder / "findings.jsonl") if finding.rule == rule)


@pytest.fixture(scope="module")
def slow(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on real images with a decoder that sleeps 20 ms per image."""
    decode = loading.decode

    def slow_decode(raw: bytes | Pixels, **more: object) -> Pixels:
        time.sleep(0.02)  # the planted fault
        return decode(raw, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "decode", slow_decode)
        out = tmp_path_factory.mktemp("runs") / "slow"
        return train(scenes, out=out, epochs=2, limit=320, workers=1, keep_pixels=False, **SMALL)


def test_a_slow_decoder_is_found(slow: Run) -> None:
    finding = finding_of(slow.path, "DataWait")
    assert finding.found
    assert "decod" in finding.cause
    assert finding.value is not None
    assert finding.value > 50
    assert finding.fix or finding.advice


def test_the_report_shows_the_finding(slow: Run) -> None:
    figures = json.loads((slow.path / "report.json").read_text())
    assert "DataWait" in {finding["rule"] for finding in figures["findings"] if finding["verdict"] == "found"}
    assert "DataWait" in (slow.path / "report.html").read_text(encoding="utf-8")


def test_the_command_line_reports_the_same(slow: Run) -> None:
    done = json.loads(run("profile", slow.path, "--json").stdout)
    assert done["phases"]["data"]["share"] > 0.5
    assert {"DataWait"} <= {finding["rule"] for finding in done["findings"] if finding["verdict"] == "found"}


@pytest.mark.slow
def test_too_many_threads_are_found(scenes: Path, tmp_path: Path) -> None:
    many = 4 * cores()
    done = train(scenes, out=tmp_path / "run", epochs=6, limit=400, threads=many, **SMALL)
    finding = finding_of(done.path, "ThreadOversubscription")
    assert finding.found
    assert finding.fix["threads"] == cores()
    assert f"{many} threads" in finding.cause


def test_a_loop_that_leaks_tensors_is_found(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    leaked = []
    with clearsight.profile(tmp_path / "leak", every=0.1, quiet=True) as profiling:
        for _ in range(60):
            features = model[:2](torch.randn(16, 3, 112, 112))
            loss = nn.functional.cross_entropy(model[2:](features), torch.randint(0, 4, (16,)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            leaked.append(features.detach().clone())  # 6.4 MB a step: the planted fault
            time.sleep(0.08)  # a step of a larger network takes this long
            profiling.step(16)
    finding = finding_of(tmp_path / "leak", "MemoryLeak")
    assert finding.found, finding
    assert "MB" in finding.cause
    assert finding.advice
