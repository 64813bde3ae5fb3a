"""Every run ends in a page, however it ended; figures and findings lie beside it as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearsight.core.events import RunStatus
from clearsight.core.run import Run
from clearsight.workflow.run.report import rewrite_report, write_foreign_report
from clearsight.workflow.train import fit

TINY = {"model": "tiny", "weights": "none", "limit": 200, "batch_size": 16}


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on some digits."""
    return fit(digits, out=tmp_path_factory.mktemp("runs") / "digits", epochs=2, augment="light", **TINY)


def sections(folder: Path) -> dict[str, dict[str, object]]:
    """What report.json holds, by section."""
    told: dict[str, dict[str, object]] = json.loads((folder / "report.json").read_text())["sections"]
    return told


def test_page_and_figures_of_a_finished_run(run: Run) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert {"curves", "evaluation", "system"} <= set(sections(run.path))
    for heading in ("Training", "Evaluation", "System"):
        assert heading in page
    assert page.count("data:image/jpeg;base64,") > 16  # samples as the model sees them, typical answers, mistakes


def test_writing_it_again_needs_the_run_folder_alone(run: Run, tmp_path: Path) -> None:
    first = (run.path / "report.html").read_bytes()
    assert rewrite_report(run).read_bytes() == first
    run.data["path"] = str(tmp_path / "gone")
    page = rewrite_report(run).read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," not in page


def test_a_diverged_run_has_a_page_that_says_so(digits: Path, tmp_path: Path) -> None:
    lost = fit(
        digits, out=tmp_path / "lost", epochs=3, lr=10.0, optimizer="sgd", momentum=0.99, precision="fp32", **TINY
    )
    page = (lost.path / "report.html").read_text(encoding="utf-8")
    assert lost.status is not RunStatus.FAILED
    assert lost.status.value.replace("_", " ") in page


def test_a_run_that_fails_has_a_page_with_the_reason(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr("clearsight.workflow.run.adjustments.train_loop", broken)
    with pytest.raises(RuntimeError, match="on fire"):
        fit(digits, out=tmp_path / "failed", epochs=1, **TINY)
    assert Run.open(tmp_path / "failed").status is RunStatus.FAILED
    assert "the disk is on fire" in (tmp_path / "failed" / "report.html").read_text(encoding="utf-8")


def test_somebody_elses_loop_needs_no_run(tmp_path: Path) -> None:
    page = write_foreign_report(
        tmp_path, name="train.py", status="completed", command=["python", "train.py"], seconds=3
    )
    assert "train.py" in page.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "report.json").read_text())["name"] == "train.py"
