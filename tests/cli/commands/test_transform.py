"""clearsight transform reads paths on stdin, shows how to go on after an interrupt, and prints a summary."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from clearsight.cli import main
from clearsight.testing.mean_colour import make_bundle
from clearsight.workflow.transform import transform as verb


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(make_bundle(tmp_path / "bundle").path)


@pytest.fixture
def photos(tmp_path: Path, shared: Path) -> Path:
    """A folder of 20 real images."""
    (tmp_path / "photos").mkdir()
    for file in sorted((shared / "data" / "intel-scenes" / "seg_pred").glob("*.jpg"))[:20]:
        shutil.copy(file, tmp_path / "photos")
    return tmp_path / "photos"


def test_json_has_the_summary(model: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "transform",
        model,
        str(photos),
        str(tmp_path / "out.csv"),
        "--batch-size",
        "3",
        "--workers",
        "2",
        "--json",
    ]
    assert main(words) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["images"], found["errors"], found["written"]) == (20, 0, 20)
    assert found["images_per_second"] == pytest.approx(20 / found["seconds"])
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["images_per_second"] is None


def test_paths_on_stdin(
    model: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [str(file) for file in sorted(photos.iterdir())]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO("\n".join([*files, "", "gone.jpg"]).encode())))
    assert main(["transform", model, "-", str(tmp_path / "out.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == [*files, "gone.jpg"]
    assert rows[-1] == {"path": "gone.jpg", "error": "there is no such file"}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"written  {tmp_path / 'out.jsonl'}  (21 images)"
    assert lines[-1] == "errors   1 image could not be read; the output says why"


def test_the_exit_code_is_2_if_nothing_can_be_read(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.csv").write_text("path\na.jpg\nb.jpg\n")
    for _ in range(2):
        assert main(["transform", model, str(tmp_path / "list.csv"), str(tmp_path / "out")]) == 2
    assert json.loads((tmp_path / "out/a.jpg.out").read_text()) == {"error": "there is no such file"}
    assert "errors   2 images" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--restart"]])
def test_ctrl_c_says_how_to_go_on(
    model: str,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
) -> None:
    classify = verb.BundleClassifier._classified
    batches: list[object] = []

    def interrupted(self: verb.BundleClassifier, batch: list) -> list:  # type: ignore[type-arg]
        batches.append(batch)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return classify(self, batch)

    monkeypatch.setattr(verb.BundleClassifier, "_classified", interrupted)
    words = ["transform", model, str(photos), str(tmp_path / "out.jsonl"), "--batch-size", "4"]
    assert main([*words, *more]) == 130
    (note,) = capsys.readouterr().err.splitlines()
    how = "the same command without --restart" if more else "the same command"
    assert note == f"8 of 20 images are in {tmp_path / 'out.jsonl'}; {how} goes on from there."
    assert main(words) == 0
    assert "earlier  8 images had been written before" in capsys.readouterr().out


def test_a_wrong_option_and_a_wrong_input_are_one_sentence(
    model: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, sentence in (
        ([str(photos), str(tmp_path / "out.txt")], "files must end in .jsonl, .csv, .parquet"),
        ([str(tmp_path / "photo"), str(tmp_path / "out.csv")], f"Did you mean {photos}?"),
    ):
        assert main(["transform", model, *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert sentence in line
