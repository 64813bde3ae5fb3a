"""A bundle is whole or it is refused; packing loses nothing."""

import json
from pathlib import Path

import pytest

from clearsight.core.bundle import Bundle, calibration_text, open_bundle
from clearsight.core.errors import BadBundle, NotFound
from clearsight.core.files import read_json, write_json
from clearsight.core.preprocess import Preprocess


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    folder = tmp_path / "model"
    (folder / "code").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "code" / "inference.py").write_text("pass\n")
    manifest = Bundle(model="tiny", classes=("cat", "dog"), preprocess=Preprocess(size=32, resize=32))
    return manifest.seal(folder)


def test_opens_from_its_folder_from_its_run_and_from_its_archive(bundle: Bundle, tmp_path: Path) -> None:
    archive = bundle.pack(tmp_path / "model.tar.gz")
    for path in (bundle.path, bundle.path.parent, archive):
        with open_bundle(path) as again:
            assert again.model_copy(update={"path": bundle.path}) == bundle
            assert again.weights.read_bytes() == b"weights"


def test_equal_bundles_pack_to_equal_bytes(bundle: Bundle, tmp_path: Path) -> None:
    first, second = bundle.pack(tmp_path / "a.tar.gz"), bundle.pack(tmp_path / "b.tar.gz")
    assert first.read_bytes() == second.read_bytes()


def test_a_changed_or_missing_file_is_noticed(bundle: Bundle) -> None:
    bundle.weights.write_bytes(b"tampered")
    with pytest.raises(BadBundle, match=r"model\.safetensors is missing or was changed"):
        Bundle.open(bundle.path)


def test_without_a_manifest_it_is_no_bundle(bundle: Bundle, tmp_path: Path) -> None:
    (bundle.path / "bundle.json").unlink()
    with pytest.raises(BadBundle, match=r"bundle\.json is missing"):
        Bundle.open(bundle.path)
    with pytest.raises(NotFound):
        Bundle.open(tmp_path / "nowhere")


def test_a_newer_format_asks_for_an_upgrade(bundle: Bundle) -> None:
    facts = read_json(bundle.path / "bundle.json")
    write_json(bundle.path / "bundle.json", {**facts, "format": 99})
    with pytest.raises(BadBundle, match="Upgrade"):
        Bundle.open(bundle.path)


def test_unknown_or_wrong_facts_are_refused(bundle: Bundle) -> None:
    facts = read_json(bundle.path / "bundle.json")
    write_json(bundle.path / "bundle.json", {**facts, "surprise": 1})
    with pytest.raises(BadBundle, match="manifest is damaged"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize("temperature", [0, -1.5, float("nan"), float("inf"), "warm"])
def test_a_temperature_that_no_calibration_gives_is_refused(bundle: Bundle, temperature: object) -> None:
    facts = read_json(bundle.path / "bundle.json")
    (bundle.path / "bundle.json").write_text(json.dumps({**facts, "temperature": temperature}))
    with pytest.raises(BadBundle, match="manifest is damaged"):
        Bundle.open(bundle.path)


def test_a_manifest_that_is_no_json_is_refused(bundle: Bundle) -> None:
    (bundle.path / "bundle.json").write_text('{"model": ')
    with pytest.raises(BadBundle, match="it is damaged"):
        Bundle.open(bundle.path)


def test_an_archive_leaves_nothing_behind(bundle: Bundle, tmp_path: Path) -> None:
    archive = bundle.pack(tmp_path / "model.tar.gz")
    with open_bundle(archive) as again:
        folder = again.path
    assert not folder.exists()


@pytest.mark.parametrize(
    ("temperature", "calibration", "text"),
    [
        (1.25, {"images": 1200, "errors": 1}, "temperature 1.25, from 1,200 validation images with 1 error"),
        (1.0, {"images": 6, "errors": 0}, "not calibrated: 6 validation images without an error"),
        (
            1.0,
            {"images": 30, "errors": 2},
            "not calibrated: 30 validation images with 2 errors agree with the network's own probabilities",
        ),
        (1.0, {}, "not calibrated: there were no validation images"),
        (0.7, {}, "temperature 0.7"),  # a bundle of an earlier version
    ],
)
def test_a_temperature_is_told_with_the_images_that_it_comes_from(
    temperature: float, calibration: dict[str, float], text: str
) -> None:
    assert calibration_text(temperature, calibration) == text


def change(bundle: Bundle, **values: object) -> Path:
    facts = read_json(bundle.path / "bundle.json")
    write_json(bundle.path / "bundle.json", {**facts, **values})
    return bundle.path


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"classes": []}, r"classes: tuple must have at least 1 item"),
        ({"classes": ["cat", "cat"]}, r"classes: the name 'cat' occurs twice"),
        ({"classes": ["cat", ""]}, r"classes\.1: string must have at least 1 character"),
        ({"format": "1"}, r"format: input must be a valid integer"),
        ({"format": True}, r"format: input must be a valid integer"),
        ({"format": None}, r"format: input must be a valid integer"),
        ({"head": [0]}, r"head\.0: "),
        ({"dropout": 1.5}, r"dropout: "),
        ({"calibration": {"temperature": 1.0}}, r"calibration: images must be a number of images"),
        ({"path": "/etc"}, r"path: it is none of its fields"),
        ({"files": {"../../etc/hostname": "0" * 64}}, r"files: '\.\./\.\./etc/hostname' is no name of a file"),
        ({"files": {"/etc/hostname": "0" * 64}}, r"files: '/etc/hostname' is no name of a file"),
        ({"files": {"code\\..\\..\\x": "0" * 64}}, r"is no name of a file"),
        ({"files": {"./model.safetensors": "0" * 64}}, r"is no name of a file"),
        ({"files": {"": "0" * 64}}, r"is no name of a file"),
        ({"files": {"model.safetensors": "short"}}, r"files\.model\.safetensors: string must match"),
        ({"files": {}}, r"its manifest does not list model\.safetensors"),
        ({"files": None}, r"files: input must be a valid dictionary"),
    ],
)
def test_every_field_of_the_manifest_is_checked(bundle: Bundle, values: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadBundle, match=sentence):
        Bundle.open(change(bundle, **values))


def test_a_manifest_that_is_no_object_is_refused(bundle: Bundle) -> None:
    (bundle.path / "bundle.json").write_text("[1]")
    with pytest.raises(BadBundle, match="it must be a JSON object"):
        Bundle.open(bundle.path)


def test_an_onnx_file_that_the_manifest_does_not_list_is_no_part_of_the_bundle(bundle: Bundle) -> None:
    bundle.onnx.write_bytes(b"cut short, or anybody's")
    assert not Bundle.open(bundle.path).has_onnx
    assert bundle.seal(bundle.path).has_onnx


def test_files_that_nothing_reads_need_not_be_listed(bundle: Bundle) -> None:
    (bundle.path / "README.md").write_text("notes")
    (bundle.path / "code" / "__pycache__").mkdir()
    assert Bundle.open(bundle.path).classes == ("cat", "dog")
