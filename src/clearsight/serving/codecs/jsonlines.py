"""JSON Lines responses: one record per image and line."""

from __future__ import annotations

import json

from clearsight.serving.payload import PredictionResponse


def write(prediction: PredictionResponse) -> bytes:
    """Return N lines, each the record that a JSON response would hold."""
    lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) for record in prediction.records())
    return "".join(line + "\n" for line in lines).encode()
