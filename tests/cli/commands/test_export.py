"""`clearsight export` and `clearsight benchmark`: flags, lines for people, JSON on stdout, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clearsight.cli import main
from clearsight.core.errors import BadBundle
from clearsight.core.exports import GateFigures
from clearsight.testing.mean_colour import make_bundle
from clearsight.workflow.deployment.benchmark import Benchmark, MeasuredRuntime
from clearsight.workflow.deployment.build import Export

FIGURES = GateFigures(
    images=108,
    source="validation split of photos",
    agreement=1.0,
    probability_difference=2e-6,
    accuracy=0.9,
    torch_accuracy=0.9,
    max_accuracy_loss=0.005,
)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(make_bundle(tmp_path / "bundle").path)


def test_a_form_with_its_figures(
    folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[dict[str, Any]] = []

    def export_to(model: Path, to: str, **options: Any) -> Export:
        calls.append({"to": to, **options})
        return Export(name="onnx-int8", path=Path("m/model.int8.onnx"), size=3 << 20, gate=FIGURES)

    monkeypatch.setattr("clearsight.workflow.export.export_to", export_to)
    assert main(["export", folder, "--to", "onnx", "--quantize", "int8", "--gate-data", "photos"]) == 0
    assert (calls[0]["to"], calls[0]["quantize"], calls[0]["gate_data"]) == ("onnx", "int8", Path("photos"))
    assert (calls[0]["max_accuracy_loss"], calls[0]["fp16"]) == (0.005, False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "m/model.int8.onnx  (3.0 MiB)"
    assert lines[1] == "gate     passed on 108 images (validation split of photos) in batches of 1, 2, 7"
    assert main(["export", folder, "--to", "onnx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gate"]["accuracy_loss"] == 0


def test_a_refused_form_is_one_line_and_exit_code_2(
    folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def export_to(*_: object, **__: object) -> Export:
        raise BadBundle("export of onnx-int8", "it loses 0.0185 of accuracy, more than 0.005")

    monkeypatch.setattr("clearsight.workflow.export.export_to", export_to)
    assert main(["export", folder, "--to", "onnx", "--quantize", "int8"]) == 2
    assert capsys.readouterr().err == "error: export of onnx-int8: it loses 0.0185 of accuracy, more than 0.005.\n"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--quantize", "int8"], "--quantize: it is for --to. Add --to onnx"),
        (["--fp16", "--out", "model.onnx"], "--fp16: it is for --to"),
        (["--to", "onnx", "--out", "model.onnx"], "--out: --to onnx writes into the bundle"),
        (["--to", "tflite"], "--to tflite: no such target. Allowed: onnx, openvino, torch-export"),
    ],
)
def test_flags_of_one_kind_of_export(
    folder: str, flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", folder, *flags]) == 2
    assert sentence in capsys.readouterr().err


def test_an_archive_as_json(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "model.tar.gz"
    assert main(["export", folder, "--out", str(archive), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(archive), "size": archive.stat().st_size}


def test_a_benchmark_is_a_table_or_json(
    folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = MeasuredRuntime(
        name="onnx",
        precision="fp32",
        gate="passed",
        p50=7.9,
        p99=9.4,
        images_per_second=125.0,
        batch=4,
        memory=80 << 20,
        accuracy=0.9259,
        start_up=0.4,
    )
    failed = MeasuredRuntime(name="openvino", precision="fp32", gate="not compared", note="it is broken")
    result = Benchmark(
        model=folder, machine="AMD EPYC, 2 cores", rows=(fast, failed), chosen="onnx", recorded="m.json", images=108
    )
    monkeypatch.setattr("clearsight.workflow.deployment.benchmark.benchmark", lambda *_, **__: result)
    assert main(["benchmark", folder, "--seconds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split() == ["onnx", "fp32", "7.90", "9.40", "125", "4", "80", "0.9259", "0.4", "passed"]
    assert lines[4].split() == ["openvino", "fp32", "failed"]
    assert "note     openvino: it is broken" in lines
    assert main(["benchmark", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runtimes"][1]["p50"] is None
