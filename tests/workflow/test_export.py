"""`export` packs a run or bundle into one archive that every command accepts, or writes one file of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.core.bundle import open_bundle
from clearsight.core.errors import BadBundle, BadChoice, BadValue, NotFound
from clearsight.testing.mean_colour import CLASSES, make_bundle
from clearsight.workflow.export import export


def test_an_exported_bundle_is_equal(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    archive = export(tmp_path / "bundle", tmp_path / "model.tar.gz")
    assert archive == tmp_path / "model.tar.gz"
    with open_bundle(archive) as opened:
        assert (opened.classes, opened.files) == (CLASSES, bundle.files)


def test_an_archive_can_be_exported_again_with_equal_bytes(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    first = export(tmp_path / "bundle", tmp_path / "model.tar.gz").read_bytes()
    assert export(tmp_path / "model.tar.gz", tmp_path / "again.tgz").read_bytes() == first


def test_the_onnx_model_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = make_bundle(tmp_path / "bundle")
    assert export("bundle", format="onnx") == Path("model.onnx")
    assert Path("model.onnx").read_bytes() == bundle.onnx.read_bytes()
    assert export("bundle", "other/net.onnx") == Path("other/net.onnx")


def test_a_file_that_the_bundle_does_not_have_is_refused(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    with pytest.raises(NotFound, match="the bundle has no such file"):
        export(tmp_path / "bundle", tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["model.zip", "model", "model.tar"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadValue, match=r"the name must end in \.tar\.gz, \.onnx, \.safetensors"):
        export(tmp_path, tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("format", "words"),
    [
        ("openvino", "OpenVINO reads the ONNX model: --format onnx"),
        ("torchscript", r"clearsight\.load\(MODEL\)\.model"),
        ("onx", r"Did you mean onnx\?"),
    ],
)
def test_formats_of_other_tools_name_the_way(tmp_path: Path, format: str, words: str) -> None:
    with pytest.raises(BadChoice, match=words):
        export(tmp_path, format=format)


def test_format_and_name_must_agree(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match=r"the name must end in \.onnx\. Name it model\.onnx\."):
        export(tmp_path, tmp_path / "model.tar.gz", format="onnx")


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match=r"bundle\.json is missing"):
        export(tmp_path, tmp_path / "model.tar.gz")
    assert not (tmp_path / "model.tar.gz").exists()
