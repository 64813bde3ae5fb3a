"""Evaluation and report need no export: without a usable ONNX file torch runs the network, and the output says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clearsight.cli import main
from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadBundle
from clearsight.core.run import Run

FAST = ("--epochs", "1", "--limit", "90", "--profile", "off")


def train_at(rate: str, scenes: Path, shared: Path, out: Path) -> int:
    weights = shared / "weights" / "mobilenetv1_025_128_imagenet.safetensors"
    model = ("-m", "mobilenetv1_025", "--weights", str(weights), "--freeze", "backbone")
    return main(["train", str(scenes), *model, *FAST, "--lr", rate, "--out", str(out)])


def test_a_rate_of_10_ends_with_scores_a_report_and_a_finding(
    scenes: Path, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_at("10", scenes, shared, tmp_path / "run") == 0
    run = Run.open(tmp_path / "run")
    assert run.failed_steps == []
    assert run.scores["test"] is not None
    assert (run.path / "report.html").is_file()
    assert "LearningRateTooHigh" in capsys.readouterr().out
    assert Bundle.open(run.path).has_onnx, "large logits are compared by the rounding of the network itself"


def test_without_an_onnx_file_the_run_is_complete(
    scenes: Path,
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refused(network: Any, bundle: Bundle) -> Bundle:
        raise BadBundle(network.name, "its ONNX file gives other logits than the network (off by 0.5)")

    monkeypatch.setattr("clearsight.workflow.run.delivery.add_onnx", refused)
    assert train_at("10", scenes, shared, tmp_path / "run") == 0
    run = Run.open(tmp_path / "run")
    assert [step["step"] for step in run.failed_steps] == ["onnx"]
    assert not Bundle.open(run.path).has_onnx
    assert (
        json.loads((run.path / "evaluation" / "metrics.json").read_text())["accuracy"] == run.scores["test"]["accuracy"]
    )
    assert (run.path / "report.html").is_file()
    assert "off by 0.5" in capsys.readouterr().out
    assert "torch runs its network instead" in caplog.text


def test_an_onnx_file_that_no_runtime_loads_is_no_obstacle(
    scenes: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def damaged(network: Any, bundle: Bundle) -> Bundle:
        bundle.onnx.write_bytes(b"no graph")
        return bundle.seal(bundle.path)

    monkeypatch.setattr("clearsight.workflow.run.delivery.add_onnx", damaged)
    assert train_at("0.001", scenes, shared, tmp_path / "run") == 0
    run = Run.open(tmp_path / "run")
    assert run.failed_steps == []
    assert run.scores["test"] is not None
    assert "torch runs the network instead" in caplog.text
