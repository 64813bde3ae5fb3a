"""Runtimes of a bundle by name, and the choice for this machine that `--runtime auto` follows."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

import pytest

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadBundle, BadChoice
from clearsight.core.files import read_json
from clearsight.core.machine import machine_name
from clearsight.testing.mean_colour import make_bundle
from clearsight.workflow import predictors
from clearsight.workflow.deployment.options import RuntimeOption, chosen_option, runtime_options, write_choice
from clearsight.workflow.export import export_to
from clearsight.workflow.predictors import open_or_torch, open_predictor


def option(bundle: Bundle, name: str) -> RuntimeOption:
    return next(option for option in runtime_options(bundle) if option.name == name)


@pytest.fixture
def colours(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "colours")


def test_exported_models_stand_beside_the_runtimes(run: Path) -> None:
    openvino = ["openvino"] if find_spec("openvino") else []
    assert [option.name for option in runtime_options(Bundle.open(run))] == ["torch", "onnx", *openvino]
    export_to(run, "onnx")
    export_to(run, "onnx", embed_preprocessing=True)
    bundle = Bundle.open(run)
    assert [option.name for option in runtime_options(bundle)] == ["torch", "onnx", *openvino, "onnx-pixels"]
    assert (option(bundle, "onnx").gate is None, option(bundle, "onnx-pixels").input) == (False, "pixels")
    with pytest.raises(BadChoice, match=r"Allowed: auto, onnxruntime, .*onnx-pixels\. Did you mean onnx-pixels\?"):
        open_predictor(bundle, runtime="onnx-pixel")


def test_torch_export_has_to_be_exported_first(colours: Bundle) -> None:
    with pytest.raises(BadChoice, match="clearsight export MODEL --to torch-export"):
        open_predictor(colours, runtime="torch-export")


def test_a_choice_belongs_to_a_machine_and_to_a_file(
    colours: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert chosen_option(colours) is None
    path = write_choice(colours, option(colours, "onnx"), 1.5)
    assert read_json(path)["machines"][machine_name()]["runtime"] == "onnx"
    assert Bundle.open(colours.path) == colours, "the manifest does not list it"
    assert chosen_option(colours) == option(colours, "onnx")
    monkeypatch.setattr("clearsight.workflow.deployment.options.machine_name", lambda: "another, 64 cores")
    assert chosen_option(colours) is None
    monkeypatch.undo()
    changed = colours.model_copy(update={"files": {**colours.files, "model.onnx": "0" * 64}})
    assert (chosen_option(changed), caplog.messages[-1][:40]) == (None, "The choice of a runtime for this machine")


@pytest.mark.parametrize("text", ["{", "[]", '{"machines": {"a": {"runtime": 3}}}'])
def test_a_damaged_file_of_choices_is_left_out(colours: Bundle, text: str, caplog: pytest.LogCaptureFixture) -> None:
    (colours.path / "machines.json").write_text(text)
    open_predictor(colours, runtime="auto").canary()
    assert "is damaged" in caplog.text
    write_choice(colours, option(colours, "onnx"), 1.5)
    assert chosen_option(colours) is not None


def test_auto_follows_the_choice_and_never_uses_torch_export(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    export_to(run, "onnx", embed_preprocessing=True)
    export_to(run, "torch-export")
    bundle = Bundle.open(run)
    assert not open_predictor(bundle, runtime="auto").takes_pixels, "without a choice it is onnx"
    write_choice(bundle, option(bundle, "onnx-pixels"), 1.5)
    assert open_predictor(bundle, runtime="auto").takes_pixels
    write_choice(bundle, option(bundle, "torch-export"), 0.1)
    assert not isinstance(open_predictor(bundle, runtime="auto").session, predictors._TorchSession)
    assert isinstance(open_predictor(bundle, runtime="torch-export").session, predictors._ProgramSession)


def test_torch_evaluates_where_the_onnx_file_fails(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "model" / "model.onnx").write_bytes(b"no graph")
    manifest = Bundle.model_validate({**read_json(run / "model" / "bundle.json"), "path": run / "model"})
    bundle = manifest.seal(run / "model")
    with pytest.raises(BadBundle, match="onnxruntime cannot load it"):
        open_predictor(bundle)
    with caplog.at_level(logging.WARNING):
        predictor = open_or_torch(bundle, device="cpu", threads=1)
    assert isinstance(predictor.session, predictors._TorchSession)
    assert caplog.messages[-1].endswith("torch runs the network instead.")
