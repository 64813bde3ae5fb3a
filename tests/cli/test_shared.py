"""`last` is the newest run."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearsight.cli import main
from tests.workflow.run_folders import write_run


def test_last_is_the_newest_run_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/photos-1"))
    assert main(["report", "last"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "runs/photos-1/report.html\n"
    assert "last     runs/photos-1" in captured.err
    Path("last").mkdir()  # a folder of that name is what the path says
    assert main(["report", "last"]) == 2
    assert "error: last: there is no run in this folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["debug last", "watch last --once", "profile last", "train --resume last", "tune --resume last"]
)
def test_last_without_a_run_says_where_it_looked(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    assert "error: last: there is no " in capsys.readouterr().err
