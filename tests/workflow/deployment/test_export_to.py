"""`export --to` on a real network and real images: what passes the gate gets into the bundle, nothing else does."""

from __future__ import annotations

import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadBundle, BadChoice, BadData, BadValue, EmptyInput, MissingExtra, NotFound
from clearsight.core.exports import ExportedModel
from clearsight.core.files import read_json, write_json
from clearsight.models import onnx_forms
from clearsight.workflow.deployment.images import images_of_training, spread
from clearsight.workflow.export import export, export_to
from clearsight.workflow.paths import Paths
from clearsight.workflow.predictors import open_predictor, probabilities_of
from clearsight.workflow.prepare.datasets import quiet
from tests.workflow.colour_images import write_class_folders

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="the extra openvino is not installed")


def state(folder: Path) -> dict[str, str]:
    """Return the digests of all files in a folder."""
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def pixels_of(bundle: Bundle) -> Any:
    """Return validation images (N, S, S, 3) uint8."""
    images = images_of_training(bundle, "--gate-data", Paths.of({}), quiet)
    return np.concatenate([pixels for pixels, _ in images.batches(images.compared, bundle.preprocess, 16)])


@pytest.mark.parametrize(
    ("options", "name", "within"),
    [
        ({"to": "onnx"}, "onnx", 1e-3),
        ({"to": "onnx", "fp16": True}, "onnx-fp16", 0.05),
        ({"to": "onnx", "embed_preprocessing": True}, "onnx-pixels", 1e-3),
        ({"to": "torch-export"}, "torch-export", 1e-3),
        pytest.param({"to": "openvino"}, "openvino", 1e-3, marks=needs_openvino),
        pytest.param({"to": "openvino", "fp16": True}, "openvino-fp16", 0.05, marks=needs_openvino),
    ],
)
def test_an_export_gives_the_probabilities_of_torch(
    run: Path, options: dict[str, Any], name: str, within: float
) -> None:
    exported = export_to(run, **options)
    bundle = Bundle.open(run)
    assert exported.name == name
    assert list(bundle.exports) == [name]
    assert exported.gate == bundle.exports[name].gate
    assert exported.gate.images == 19
    assert exported.gate.probability_difference <= within
    predictor, torch = open_predictor(bundle, runtime=name), open_predictor(bundle, runtime="torch")
    pixels = pixels_of(bundle)
    np.testing.assert_allclose(probabilities_of(predictor, pixels), probabilities_of(torch, pixels), atol=within)
    predictor.canary()


def test_int8_is_calibrated_on_training_images_and_smaller(run: Path) -> None:
    exported = export_to(run, "onnx", quantize="int8", max_accuracy_loss=0.2)
    bundle = Bundle.open(run)
    assert bundle.exports["onnx-int8"].calibration_images == 108
    assert exported.size < 0.5 * bundle.onnx.stat().st_size
    pixels = pixels_of(bundle)
    for runtime in ("onnx-int8", "onnx"):  # both are there
        assert probabilities_of(open_predictor(bundle, runtime=runtime), pixels).shape == (19, 6)


def test_a_model_beyond_the_limits_leaves_the_bundle_as_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = onnx_forms.with_pixels
    monkeypatch.setattr(onnx_forms, "with_pixels", lambda data, scale, shift: right(data, scale * 9, shift))
    before = state(run)
    with pytest.raises(
        BadBundle, match=r"onnx-pixels: it agrees with torch on .*torch 0\.\d+\)\)\. The bundle is as before"
    ):
        export_to(run, "onnx", embed_preprocessing=True)
    assert state(run) == before


def test_a_request_with_prepared_numbers_gets_the_same_answer_from_a_graph_of_pixels(run: Path) -> None:
    export_to(run, "onnx", embed_preprocessing=True)
    bundle = Bundle.open(run)
    usual, pixels = open_predictor(bundle), open_predictor(bundle, runtime="onnx-pixels")
    image = pixels_of(bundle)[0]
    prepared = usual.prepared(image)
    assert pixels.prepared(image).shape == image.shape
    rows = [pixels.probabilities(pixels.prepared(each)[None]) for each in (image, prepared)]
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_allclose(rows[0], usual.probabilities(prepared[None]), atol=1e-5)
    with pytest.raises(BadValue, match="its numbers are not those of pixels"):
        pixels.prepared(prepared * 0.99)


def test_a_changed_program_is_not_loaded(run: Path) -> None:
    """Reading it could execute code, so it must be the file that the manifest has the digest of."""
    path = export_to(run, "torch-export").path
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(BadBundle, match=r"model\.pt2 is missing or was changed"):
        Bundle.open(run)


def test_images_that_are_gone_are_replaced_by_gate_data(run: Path, scenes: Path, tmp_path: Path) -> None:
    manifest = read_json(run / "model" / "bundle.json")
    write_json(run / "model" / "bundle.json", {**manifest, "data": {**manifest["data"], "path": "/nowhere/scenes"}})
    with pytest.raises(NotFound, match=r"not at /nowhere/scenes\. Pass --gate-data PATH with labelled images\."):
        export_to(run, "onnx")
    few = tmp_path / "few"
    for folder in (scenes / "seg_test").rglob("*.jpg"):
        if len(list((few / folder.parent.name).glob("*"))) < 3:
            (few / folder.parent.name).mkdir(parents=True, exist_ok=True)
            (few / folder.parent.name / folder.name).write_bytes(folder.read_bytes())
    exported = export_to(run, "onnx", gate_data=few)
    assert (exported.gate.images, exported.gate.source) == (18, str(few))
    with pytest.raises(EmptyInput, match=r"calibrated on training images, and .* has 0 beside it\. Pass --gate-data"):
        export_to(run, "onnx", quantize="int8", gate_data=few)
    with pytest.raises((BadData, BadChoice)):
        export_to(run, "onnx", gate_data=write_class_folders(tmp_path / "colours", {"red": 3, "green": 3}))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"to": "onx"}, r"Did you mean onnx\?"),
        ({"to": "onnx", "quantize": "int4"}, "no such precision"),
        ({"to": "onnx", "quantize": "int8", "fp16": True}, "cannot be used with --quantize"),
        ({"to": "torch-export", "fp16": True}, "torch computes in float32"),
        ({"to": "openvino", "embed_preprocessing": True}, "it is for ONNX alone"),
        ({"to": "onnx", "max_accuracy_loss": 1.5}, "from 0 to 1"),
    ],
)
def test_flags_that_do_not_go_together(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((BadChoice, BadValue), match=sentence):
        export_to(tmp_path, **options)


def test_missing_packages_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearsight.models.onnx_forms.installed", lambda package: None)
    monkeypatch.setattr("clearsight.models.onnx_forms.import_openvino", lambda: None)
    with pytest.raises(MissingExtra, match=r"clearsight\[int8\]"):
        export_to(tmp_path, "openvino", quantize="int8")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"clearsight\[openvino\]"):
        export_to(tmp_path, "openvino")


def test_a_packed_bundle_is_not_exported_into(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match="Unpack it into a folder"):
        export_to(export(run, tmp_path / "model.tar.gz"), "onnx")


def test_new_weights_remove_what_was_exported_of_the_old_ones(run: Path) -> None:
    from clearsight.models.bundle import load, save_weights

    export_to(run, "onnx", embed_preprocessing=True)
    bundle = Bundle.open(run)
    manifest = bundle.model_copy(update={"exports": {}})
    assert {*save_weights(load(bundle), manifest, bundle.path).files} == {"model.safetensors", "code/inference.py"}


def test_images_are_spread_over_the_classes(bundle: Bundle) -> None:
    images = images_of_training(bundle, "--gate-data", Paths.of({}), quiet)
    chosen = spread(images.training, 12)
    assert len(chosen) == 12
    assert len({sample.label for sample in chosen.samples}) == 6
    assert len(spread(images.compared, 10_000)) == len(images.compared) == 19
    assert len(spread(images.compared, 1)) == 1


def test_a_record_keeps_its_figures(run: Path) -> None:
    export_to(run, "onnx")
    record = read_json(run / "model" / "bundle.json")["exports"]["onnx"]
    assert ExportedModel.model_validate(record).gate.agreement == 1
    assert {"clearsight", "torch", "onnx", "onnxruntime"} <= {*record["versions"]}
