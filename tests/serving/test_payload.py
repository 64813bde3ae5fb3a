"""The record of a prediction: class names, probabilities and a ranking."""

from __future__ import annotations

import numpy as np

from clearsight.serving.payload import PredictionResponse, record


def test_a_record_ranks_the_classes() -> None:
    row = np.array([0.2, 0.5, 0.3])
    assert record(row, ("a", "b", "c"), 2) == {
        "label": "b",
        "probability": 0.5,
        "probabilities": {"a": 0.2, "b": 0.5, "c": 0.3},
        "top": [{"label": "b", "probability": 0.5}, {"label": "c", "probability": 0.3}],
    }


def test_equal_probabilities_keep_the_order_of_the_classes() -> None:
    labels = [entry["label"] for entry in record(np.full(4, 0.25), "wxyz", 4)["top"]]
    assert labels == ["w", "x", "y", "z"]


def test_a_ranking_is_never_longer_than_the_classes() -> None:
    prediction = PredictionResponse(classes=("a", "b"), probabilities=np.array([[0.5, 0.5], [0.1, 0.9]]), top=5)
    assert [len(entry["top"]) for entry in prediction.records()] == [2, 2]
