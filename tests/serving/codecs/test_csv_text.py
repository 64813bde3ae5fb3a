"""CSV responses."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from clearsight.serving.codecs import csv_text
from clearsight.serving.payload import PredictionResponse
from clearsight.testing.serving import ResponseContract


def parse(body: bytes) -> npt.NDArray[np.float64]:
    return np.loadtxt(io.BytesIO(body), delimiter=",", ndmin=2)


class TestWrite(ResponseContract):
    write = staticmethod(csv_text.write)
    parse = staticmethod(parse)


def test_one_line_per_image() -> None:
    prediction = PredictionResponse(classes=("a", "b"), probabilities=np.array([[0.25, 0.75], [1.0, 0.0]]))
    assert csv_text.write(prediction) == b"0.25,0.75\n1.0,0.0\n"
