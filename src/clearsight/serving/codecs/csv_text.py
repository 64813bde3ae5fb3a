"""CSV responses: one line of probabilities per image, columns in the order of the classes, no header line."""

from __future__ import annotations

from clearsight.serving.payload import PredictionResponse


def write(prediction: PredictionResponse) -> bytes:
    """Return N lines of C numbers."""
    return "".join(",".join(map(repr, row)) + "\n" for row in prediction.probabilities.tolist()).encode()
