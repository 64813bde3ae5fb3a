"""CSV answers: one line of probabilities per image, columns in the order of the classes, no heading."""

from __future__ import annotations

from clearsight.serving.payload import PredictionResponse


def write(answer: PredictionResponse) -> bytes:
    """N lines of C numbers."""
    return "".join(",".join(map(repr, row)) + "\n" for row in answer.probabilities.tolist()).encode()
