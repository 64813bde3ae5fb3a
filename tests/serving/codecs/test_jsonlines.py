"""JSON Lines responses."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt

from clearsight.serving.codecs import jsonlines
from clearsight.serving.payload import PredictionResponse
from clearsight.testing.serving import ResponseContract


def parse(body: bytes) -> npt.NDArray[np.float64]:
    return np.array([list(json.loads(line)["probabilities"].values()) for line in body.splitlines()])


class TestWrite(ResponseContract):
    write = staticmethod(jsonlines.write)
    parse = staticmethod(parse)


def test_each_line_is_a_record() -> None:
    prediction = PredictionResponse(classes=("a", "b"), probabilities=np.array([[0.25, 0.75], [1.0, 0.0]]))
    assert [json.loads(line) for line in jsonlines.write(prediction).splitlines()] == prediction.records()
