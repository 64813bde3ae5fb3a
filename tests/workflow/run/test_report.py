"""Every run writes report.html and report.json, however it ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clearsight.core.events import RunStatus
from clearsight.core.run import Run
from clearsight.workflow.run.report import rewrite_report, write_external_report
from clearsight.workflow.train import train

TINY: dict[str, Any] = {"model": "tiny", "weights": "none", "limit": 200, "batch_size": 16}


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on the digits."""
    return train(digits, out=tmp_path_factory.mktemp("runs") / "digits", epochs=2, augment="light", **TINY)


def sections(folder: Path) -> dict[str, dict[str, object]]:
    """Return the sections of report.json."""
    values: dict[str, dict[str, object]] = json.loads((folder / "report.json").read_text())["sections"]
    return values


def test_page_and_json_of_a_finished_run(run: Run) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert {"curves", "evaluation", "system"} <= set(sections(run.path))
    for heading in ("Training", "Evaluation", "System"):
        assert heading in page
    assert page.count("data:image/jpeg;base64,") > 16  # samples, typical predictions, mistakes


def test_it_can_be_written_again_from_the_run_folder(run: Run, tmp_path: Path) -> None:
    first = (run.path / "report.html").read_bytes()
    assert rewrite_report(run).read_bytes() == first
    run.data["path"] = str(tmp_path / "gone")
    page = rewrite_report(run).read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," not in page


def test_a_diverged_run_has_a_page_with_its_status(digits: Path, tmp_path: Path) -> None:
    lost = train(
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
        train(digits, out=tmp_path / "failed", epochs=1, **TINY)
    assert Run.open(tmp_path / "failed").status is RunStatus.FAILED
    assert "the disk is on fire" in (tmp_path / "failed" / "report.html").read_text(encoding="utf-8")


def test_an_external_loop_needs_no_run(tmp_path: Path) -> None:
    page = write_external_report(
        tmp_path, name="train.py", status="completed", command=["python", "train.py"], seconds=3
    )
    assert "train.py" in page.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "report.json").read_text())["name"] == "train.py"
