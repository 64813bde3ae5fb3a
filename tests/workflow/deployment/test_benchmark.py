"""`benchmark` measures every runtime in a process of its own and records the fastest one that has passed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadBundle, BadValue
from clearsight.testing.mean_colour import make_bundle
from clearsight.workflow.deployment import benchmark as module
from clearsight.workflow.deployment.benchmark import MeasuredRuntime, _compared, _fastest, benchmark
from clearsight.workflow.deployment.options import RuntimeOption, chosen_option, runtime_options
from clearsight.workflow.export import export, export_to
from tests.workflow.colour_images import write_class_folders


def measured(name: str, p50: float | None, gate: str) -> MeasuredRuntime:
    return MeasuredRuntime(name=name, precision="fp32", gate=gate, p50=p50)


def test_a_real_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_to(run, "torch-export")
    bundle = Bundle.open(run)
    result = benchmark(run, seconds=0.2)
    names = [option.name for option in runtime_options(bundle) if option.name != "torch-export"]
    assert [row.name for row in result.rows] == names
    torch, onnx = result.rows[:2]
    assert (torch.gate, onnx.gate) == ("reference", "passed here")
    assert torch.accuracy == onnx.accuracy == bundle.exports["torch-export"].gate.torch_accuracy
    assert result.images == 19
    for row in result.rows:
        assert row.note == ""
        assert row.calls >= 20
        assert 0 < (row.p50 or 0) <= (row.p99 or 0)
        assert (row.memory or 0) > 1 << 20
        assert (row.images_per_second or 0) > 0
    assert (torch.start_up or 0) > (onnx.start_up or 0), "torch takes seconds to import"
    assert result.recorded == str(run / "model" / "machines.json")
    chosen = chosen_option(Bundle.open(run))
    assert chosen is not None
    assert chosen.name == result.chosen == min(result.rows, key=lambda row: row.p50 or 0).name
    assert "torch-export is code and was left out; --trust measures it too." in result.notes
    assert json.loads(json.dumps(result.to_json()))["chosen"] == result.chosen
    assert repr(result).splitlines()[2].split() == " ".join(module._HEAD).split()
    assert "<table" in result._repr_html_()
    assert capsys.readouterr().out == "", "it prints nothing itself"


def test_without_images_and_in_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bundle(tmp_path / "colours")
    archive = export(tmp_path / "colours", tmp_path / "model.tar.gz")
    monkeypatch.setattr(module, "runtime_options", lambda bundle: runtime_options(bundle)[:1])
    result = benchmark(archive, seconds=0.02)
    (row,) = result.rows
    assert (row.name, row.gate, row.accuracy) == ("onnx", "not compared", None)
    assert (result.chosen, result.images) == ("", 0), "without torch and images nothing has passed"
    assert "it names no dataset" in result.notes[0]


def test_labelled_images_of_another_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bundle(tmp_path / "colours")
    monkeypatch.setattr(module, "runtime_options", lambda bundle: runtime_options(bundle)[:1])
    photos = write_class_folders(tmp_path / "photos", {"red": 3, "green": 2})
    result = benchmark(tmp_path / "colours", images=photos, seconds=0.02)
    assert (result.images, result.rows[0].accuracy) == (5, 1.0)


def test_a_runtime_that_fails_has_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "colours")
    bundle.onnx.write_bytes(b"no graph")
    bundle.seal(bundle.path)
    monkeypatch.setattr(module, "runtime_options", lambda bundle: runtime_options(bundle)[:1])
    with pytest.raises(BadBundle, match=r"no runtime can run it \(.*onnxruntime cannot load it"):
        benchmark(bundle.path, seconds=0.02)
    with pytest.raises(BadValue, match="must be above 0"):
        benchmark(bundle.path, seconds=0)


def test_the_choice_is_the_fastest_that_has_passed() -> None:
    rows = [
        measured("torch", 30.0, "reference"),
        measured("onnx", 9.0, "passed here"),
        measured("onnx-int8", 5.0, "failed here"),
        measured("openvino", 6.0, "not compared"),
        measured("torch-export", 1.0, "passed"),
        measured("onnx-fp16", None, "passed"),
    ]
    options = [
        RuntimeOption(name=row.name, engine="torch-export" if row.name == "torch-export" else "onnxruntime", file="")
        for row in rows
    ]
    chosen = _fastest(rows, options)
    assert chosen is not None
    assert chosen.name == "onnx"
    assert _fastest(rows[2:4], options[2:4]) is None


def test_a_runtime_without_a_gate_is_compared_with_torch() -> None:
    labels = np.array([0, 1])
    torch, other = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.9, 0.1], [0.7, 0.3]])
    row = measured("openvino", 1.0, "not compared")
    same = _compared(row, {"torch": torch, "openvino": torch}, labels)
    differs = _compared(row, {"torch": torch, "openvino": other}, labels)
    assert (same.gate, same.accuracy) == ("passed here", 1.0)
    assert (differs.gate, differs.accuracy) == ("failed here", 0.5)
    assert _compared(row, {"openvino": other}, labels).gate == "not compared"
    kept = _compared(measured("onnx-int8", 1.0, "passed"), {"torch": torch, "onnx-int8": other}, labels)
    assert kept.gate == "passed", "it has passed with the limit of its export"
