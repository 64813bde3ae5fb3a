from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clearsight.cli import main
from clearsight.core.run import Run
from clearsight.workflow.pdf import BROWSERS
from tests.workflow.made_runs import evaluate, found, made_run
from tests.workflow.pdf_text import pages, text


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = made_run(tmp_path / "first")
    evaluate(run, [place < 90 for place in range(100)])
    found(run)
    return run


def test_the_page_alone_is_on_standard_output(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run.path)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{run.path / 'report.html'}\n"
    assert said.err == f"numbers  {run.path / 'report.json'}\n"
    assert json.loads((run.path / "report.json").read_text())["name"] == "first"


def test_the_page_goes_where_it_is_told_too(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "new" / "page.html"
    assert main(["report", str(run.path), "--out", str(copy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "format": "html",
        "page": str(copy),
        "figures": str(run.path / "report.json"),
    }
    assert copy.read_bytes() == (run.path / "report.html").read_bytes()


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium or Chrome on this machine to print with")
def test_a_report_on_paper(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run.path), "--format", "pdf"]) == 0
    assert capsys.readouterr().out == f"{run.path / 'report.pdf'}\n"
    printed = (run.path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert pages(printed) > 1
    said = text(printed)
    assert "Of100testimagesitgets90.0%right(95%interval82.6%to94.5%)" in said
    assert "trainingvalidation" in said, "the legend of a chart, which is drawn and stands nowhere in the page"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "no run in this folder"),
        (
            ["RUN", "--format", "pdf", "--browser", "/none"],
            "--browser /none: there is no such program. Install Chromium",
        ),
    ],
)
def test_mistakes_end_as_a_sentence(
    run: Run, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *(str(run.path) if word == "RUN" else word for word in words)]) == 2
    assert sentence in capsys.readouterr().err
    assert not (run.path / "report.html").exists()
