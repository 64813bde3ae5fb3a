"""clearsight report: the page of a run, written again as HTML or PDF."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clearsight.cli import main
from clearsight.core.run import Run
from clearsight.workflow.display.pdf import BROWSERS
from tests.workflow.pdf_text import pages, text
from tests.workflow.run_folders import write_evaluation, write_run, write_verdicts


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = write_run(tmp_path / "first")
    write_evaluation(run, [place < 90 for place in range(100)])
    write_verdicts(run)
    return run


def test_the_page_alone_is_on_standard_output(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run.path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{run.path / 'report.html'}\n"
    assert captured.err == f"numbers  {run.path / 'report.json'}\n"
    assert json.loads((run.path / "report.json").read_text())["name"] == "first"


def test_the_page_is_also_written_to_out(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "new" / "page.html"
    assert main(["report", str(run.path), "--out", str(copy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "format": "html",
        "page": str(copy),
        "figures": str(run.path / "report.json"),
    }
    assert copy.read_bytes() == (run.path / "report.html").read_bytes()


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium or Chrome on this machine to print with")
def test_a_report_as_pdf(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run.path), "--format", "pdf"]) == 0
    assert capsys.readouterr().out == f"{run.path / 'report.pdf'}\n"
    printed = (run.path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert pages(printed) > 1
    words = text(printed)
    assert "Itclassifies90.0%of100testimagescorrectly(95%interval82.6%to94.5%)" in words
    assert "trainingvalidation" in words, "the legend of a chart, which is drawn and stands nowhere in the page"


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
