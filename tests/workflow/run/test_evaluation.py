"""The JSON, the CSV file and the scores of an evaluation agree."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.safe_text import csv_rows
from clearsight.workflow.run.evaluation import Evaluation


@pytest.fixture
def evaluation() -> Evaluation:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    logits = rng.normal(size=(60, 3)).astype(np.float32)
    logits[np.arange(60), labels] += 1
    ids = tuple(f"p/{i}, odd.jpg" for i in range(60))
    return Evaluation(split="test", classes=("a", "b", 'c "d"'), ids=ids, labels=labels, logits=logits, temperature=2.0)


def test_json_is_consistent(evaluation: Evaluation) -> None:
    found = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    matrix = np.array(found["confusion"]["matrix"])
    assert matrix.sum() == found["n"] == 60
    assert np.trace(matrix) / 60 == pytest.approx(found["accuracy"])
    low, high = found["accuracy_interval"]
    assert low < found["accuracy"] < high
    assert found["top5"] == 1.0
    assert found["roc_auc"] is None
    assert {row["support"] for row in found["per_class"].values()} == {20}


def test_temperature_changes_confidences_and_no_prediction(evaluation: Evaluation) -> None:
    uncalibrated = Evaluation(**{**evaluation.__dict__, "temperature": 1.0})
    assert evaluation.probabilities.max() < uncalibrated.probabilities.max()
    assert (evaluation.probabilities.argmax(1) == uncalibrated.probabilities.argmax(1)).all()
    assert evaluation.scores() == uncalibrated.scores(), "scores are of the logits, before calibration"
    served, raw = evaluation.to_json(), uncalibrated.to_json()
    assert served["ece_uncalibrated"] == raw["ece"]
    assert served["loss"] == raw["loss"] == raw["loss_served"]
    assert served["loss_served"] == pytest.approx(
        -np.log(evaluation.probabilities[np.arange(60), evaluation.labels]).mean()
    )


def test_mistakes_are_wrong_and_most_confident_first(evaluation: Evaluation) -> None:
    found = evaluation.mistakes(5)
    assert all(row["true"] != row["predicted"] for row in found)
    confidence = [row["probability"] for row in found]
    assert confidence == sorted(confidence, reverse=True)


def test_the_files_hold_every_image(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write(tmp_path)
    rows = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert [row["path"] for row in rows] == list(evaluation.ids)
    for row, shares in zip(rows, evaluation.probabilities, strict=True):
        written = [float(row[f"p:{name}"]) for name in evaluation.classes]
        assert written == pytest.approx(list(shares), rel=1e-4)
    assert json.loads((tmp_path / "metrics.json").read_text())["reliability"] == evaluation.reliability()


def test_class_names_and_paths_are_no_formulas(evaluation: Evaluation, tmp_path: Path) -> None:
    ids = ("=1+1", "-x.png", *evaluation.ids[2:])
    names = ("=cmd", "@sum", *evaluation.classes[2:])
    replace(evaluation, ids=ids, classes=names).write(tmp_path)
    rows = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert [row["path"] for row in rows[:2]] == ["'=1+1", "'-x.png"]
    assert {row["true"] for row in rows} <= {"'=cmd", "'@sum", *names[2:]}
    assert [row["path"] for row in csv_rows(tmp_path / "predictions.csv")] == list(ids)  # as comparisons read them
