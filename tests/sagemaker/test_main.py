"""`python -m clearsight_sagemaker`: one sentence for an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.testing.profiles import healthy_cpu
from clearsight_sagemaker.__main__ import main
from tests.sagemaker.runs import run_folder


def test_the_report_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path / "run", healthy_cpu(steps=40))
    assert main(["profiler-report", str(run), "--out", str(tmp_path / "out")]) == 0
    assert Path(capsys.readouterr().out.strip()).is_file()


def test_a_missing_run_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiler-report", str(tmp_path / "gone"), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'gone'}: there is no such folder.\n"


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path / "run", healthy_cpu(steps=40))
    (tmp_path / "file").write_text("")
    assert main(["profiler-report", str(run), "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("words", [[], ["report"], ["profiler-report"], ["profiler-report", "run"]])
def test_wrong_arguments_are_an_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("error: ")
