"""JSON Lines answers: one record per image and line."""

from __future__ import annotations

import json

from clearsight.serving.payload import PredictionResponse


def write(answer: PredictionResponse) -> bytes:
    """N lines, each the record that a JSON answer would hold."""
    lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) for record in answer.records())
    return "".join(line + "\n" for line in lines).encode()
