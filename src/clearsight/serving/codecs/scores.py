"""Scores alone, as SageMaker's built-in image classification writes them: a JSON array in the order of the classes."""

from __future__ import annotations

import json

from clearsight.serving.payload import PredictionResponse


def write(prediction: PredictionResponse) -> bytes:
    """Return the probabilities of the one image as an array (C,), or those of a list as an array of arrays (N, C)."""
    rows = prediction.probabilities.tolist()
    return json.dumps(rows if prediction.batch else rows[0], allow_nan=False).encode()
