"""Names and files of exported models follow from their form; a bundle lists them with the figures of their gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadBundle
from clearsight.core.exports import ExportedModel, GateFigures, ModelForm
from clearsight.core.files import read_json, write_json
from clearsight.core.preprocess import Preprocess

FIGURES = GateFigures(
    images=100,
    source="photos",
    agreement=1.0,
    probability_difference=1e-6,
    accuracy=0.9,
    torch_accuracy=0.91,
    max_accuracy_loss=0.02,
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "model.onnx").write_bytes(b"graph")
    return Bundle(model="tiny", classes=("a", "b"), preprocess=Preprocess(size=32, resize=32)).seal(folder)


def written(folder: Path, form: ModelForm, content: bytes = b"graph") -> ExportedModel:
    """Write the files of a form into the new `folder`; return its record."""
    folder.mkdir()
    for name in form.files:
        (folder / name).write_bytes(content)
    return ExportedModel(**form.model_dump(), gate=FIGURES)


@pytest.mark.parametrize(
    ("form", "name", "files"),
    [
        (ModelForm(target="onnx"), "onnx", ("model.onnx",)),
        (ModelForm(target="onnx", precision="int8", input="pixels"), "onnx-int8-pixels", ("model.int8.pixels.onnx",)),
        (ModelForm(target="openvino", precision="fp16"), "openvino-fp16", ("model.fp16.xml", "model.fp16.bin")),
        (ModelForm(target="torch-export"), "torch-export", ("model.pt2",)),
    ],
)
def test_name_and_files_follow_from_the_form(form: ModelForm, name: str, files: tuple[str, ...]) -> None:
    assert (form.name, form.files) == (name, files)


def test_published_models_stand_beside_each_other(bundle: Bundle, tmp_path: Path) -> None:
    forms = [ModelForm(target="onnx", precision="int8"), ModelForm(target="openvino"), ModelForm(target="onnx")]
    for number, form in enumerate(forms):
        folder = tmp_path / str(number)
        bundle = bundle.publish(written(folder, form, b"new"), folder)
    opened = Bundle.open(bundle.path)
    assert opened == bundle
    assert list(opened.exports) == ["onnx-int8", "openvino", "onnx"]
    assert opened.onnx.read_bytes() == b"new", "an exported model replaces that of the training"
    assert opened.exports["openvino"].gate.accuracy_loss == pytest.approx(0.01)
    assert {*opened.files} == {"model.safetensors", "model.onnx", "model.int8.onnx", "model.xml", "model.bin"}


def test_a_kill_while_a_file_is_replaced_leaves_a_whole_bundle(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = written(tmp_path / "new", ModelForm(target="onnx"), b"new")

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("clearsight.core.bundle.shutil.copyfile", killed)
    with pytest.raises(KeyboardInterrupt):
        bundle.publish(record, tmp_path / "new")
    assert not Bundle.open(bundle.path).has_onnx
    assert bundle.onnx.read_bytes() == b"graph"


def test_a_bundle_without_exports_is_written_as_before_there_were_any(bundle: Bundle, tmp_path: Path) -> None:
    manifest = read_json(bundle.path / "bundle.json")
    assert manifest["format"] == 1
    assert "exports" not in manifest
    bundle.publish(written(tmp_path / "new", ModelForm(target="torch-export")), tmp_path / "new")
    assert read_json(bundle.path / "bundle.json")["format"] == 2, "an earlier version asks for an upgrade"


def test_a_record_without_its_file_or_under_another_name_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    bundle.publish(written(tmp_path / "new", ModelForm(target="torch-export")), tmp_path / "new")
    manifest = read_json(bundle.path / "bundle.json")
    record = manifest["exports"]["torch-export"]
    files = {name: digest for name, digest in manifest["files"].items() if name != "model.pt2"}
    write_json(bundle.path / "bundle.json", {**manifest, "files": files})
    with pytest.raises(BadBundle, match=r"does not list model\.pt2"):
        Bundle.open(bundle.path)
    write_json(bundle.path / "bundle.json", {**manifest, "exports": {"onnx": record}})
    with pytest.raises(BadBundle, match=r"its manifest is damaged \(exports"):
        Bundle.open(bundle.path)


def test_choices_of_machines_are_neither_sealed_nor_packed(bundle: Bundle, tmp_path: Path) -> None:
    (bundle.path / "machines.json").write_text("{}")
    sealed = bundle.seal(bundle.path)
    assert "machines.json" not in sealed.files
    before = bundle.pack(tmp_path / "a.tar.gz").read_bytes()
    (bundle.path / "machines.json").unlink()
    assert sealed.pack(tmp_path / "b.tar.gz").read_bytes() == before
