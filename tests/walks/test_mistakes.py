"""A user's mistake ends with one sentence that says what to do, exit code 2, and nothing on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.walks.commands import error_of, json_of, run


def test_a_command_with_a_typo(tmp_path: Path) -> None:
    assert "Did you mean train?" in error_of("trian", tmp_path)


def test_an_option_with_a_typo(tmp_path: Path) -> None:
    assert "--epochs" in error_of("train", tmp_path, "--epohcs", "3")


def test_a_missing_folder() -> None:
    assert "photos-of-nobody" in error_of("data", "photos-of-nobody")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--lr", "0"), "lr '0': must be a number, above 0"),
        (("--lr", "fast"), "lr 'fast'"),
        (("--optimizer", "adamm"), "Did you mean adam?"),
        (("--freeze", "layer5"), "has no stage of that name"),
        (("--freeze", "99"), "99"),
        (("--model", "resnet43", "--weights", "none"), "Did you mean"),
        (("--model", "timm/mobilenetv2_10", "--weights", "none"), "Did you mean"),
        (("--weights", "nowhere.safetensors"), "nowhere.safetensors"),
        (("--head", "12,wide"), "head"),
        (("--mean", "0.5"), "mean"),
        (("--time-limit", "soon"), "10m"),
        (("--device", "tpu"), "tpu"),
        (("--precision", "fp16", "--device", "cpu"), "needs a GPU"),
        (("--monitor", "roc_auc"), "two classes"),
        (("--ignore-class", "sevn"), "sevn"),
        (("--format", "folder"), "Did you mean folders?"),
        (("--recipe", "none.yaml"), "none.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_setting(digits: Path, tmp_path: Path, flags: tuple[str, ...], sentence: str) -> None:
    base = () if "--model" in flags or "--weights" in flags else ("-m", "resnet18", "--weights", "none")
    message = error_of("train", digits, *base, *flags, "--out", tmp_path / "run", cwd=tmp_path)
    assert sentence in message
    assert not (tmp_path / "run").exists()


def test_the_error_without_weights_names_the_folders_searched(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARSIGHT_WEIGHTS", str(tmp_path / "my-weights"))
    message = error_of("train", digits, "-m", "timm/mobilenetv2_100", "--out", tmp_path / "run")
    assert "my-weights" in message
    assert "--weights none" in message


def test_weights_of_another_network(digits: Path, real_weights: Path, tmp_path: Path) -> None:
    message = error_of("train", digits, "-m", "resnet18", "--weights", real_weights, "--out", tmp_path / "run")
    assert "mobilenetv2" in message


def test_unusable_data_are_refused(digits: Path, tmp_path: Path) -> None:
    single_class = tmp_path / "one"
    shutil.copytree(digits / "train" / "3", single_class / "train" / "3")
    assert "class" in error_of("train", single_class, "-m", "tiny", "--weights", "none", "--out", tmp_path / "a")
    (tmp_path / "empty").mkdir()
    error_of("train", tmp_path / "empty", "-m", "tiny", "--weights", "none", "--out", tmp_path / "b")
    unknown = tmp_path / "unknown"
    shutil.copytree(digits, unknown)
    (unknown / "test" / "7").rename(unknown / "test" / "sevn")
    message = error_of("train", unknown, "-m", "tiny", "--weights", "none", "--out", tmp_path / "c")
    assert "sevn" in message
    assert "--ignore-class" in message


def test_a_setting_of_the_bundle_is_no_option_of_evaluate(digits: Path, tmp_path: Path) -> None:
    """Preprocessing comes from the bundle, so the flag is an error and is not ignored silently."""
    assert "--image-size" in error_of("evaluate", tmp_path, digits, "--image-size", "64")


def test_a_path_without_a_model(digits: Path, tmp_path: Path) -> None:
    assert "there is no run or bundle" in error_of("evaluate", tmp_path / "none", digits)
    assert "bundle.json is missing" in error_of("predict", tmp_path, digits)
    (tmp_path / "broken.tar.gz").write_bytes(b"not an archive")
    assert "or it is cut short" in error_of("serve", tmp_path / "broken.tar.gz", "--port", "0")


def test_help_of_every_command_shows_an_example() -> None:
    from clearsight.cli import COMMANDS

    for name in COMMANDS:
        assert f"clearsight {name}" in run(name, "--help").stdout.replace("\n", " ")


def test_doctor_prints_json() -> None:
    found = json_of("doctor")
    assert {"versions", "devices", "threads", "disk", "shared_memory", "extras", "weights", "advice"} <= set(found)
