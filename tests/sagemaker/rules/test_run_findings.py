"""RunFindings: clearsight's rules of SageMaker's names on the run folder that a job leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

from clearsight_sagemaker.rules.run_findings import RunFindings


def run_with_losses(folder: Path, losses: list[float]) -> Path:
    folder.mkdir()
    rows = [
        {"step": step, "epoch": 1, "mode": "train", "name": "loss", "value": loss}
        for step, loss in enumerate(losses, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_finding_has_cause_measurement_and_advice(tmp_path: Path) -> None:
    flat = RunFindings(run_with_losses(tmp_path / "run", [2.0] * 200), ["LossNotDecreasing", "NoSuchRule"])
    assert flat.sentence("LossNotDecreasing") == ""
    flat.judge()
    found = flat.sentence("LossNotDecreasing")
    assert found.startswith("clearsight: ")
    assert "threshold" in found
    assert flat.sentence("NoSuchRule") == ""


def test_nothing_is_found_without_a_run_or_in_a_good_one(tmp_path: Path) -> None:
    falling = run_with_losses(tmp_path / "run", [2.0 * 0.98**step for step in range(200)])
    for run in (tmp_path / "none", falling):
        findings = RunFindings(run, ["LossNotDecreasing"])
        findings.judge()
        assert findings.sentence("LossNotDecreasing") == ""
