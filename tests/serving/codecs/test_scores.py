"""Responses with scores alone."""

from __future__ import annotations

import json

import httpx
import numpy as np
import numpy.typing as npt

from clearsight.serving.codecs import scores
from clearsight.testing.mean_colour import expected
from clearsight.testing.serving import ResponseContract


def parse(body: bytes) -> npt.NDArray[np.float64]:
    return np.atleast_2d(np.array(json.loads(body)))


class TestWrite(ResponseContract):
    write = staticmethod(scores.write)
    parse = staticmethod(parse)


def test_an_endpoint_answers_with_an_array_in_class_order(client: httpx.Client, photo: bytes) -> None:
    response = client.post("/invocations", content=photo, headers={"Accept": "application/x-scores+json"})
    assert response.headers["content-type"] == "application/x-scores+json"
    np.testing.assert_allclose(response.json(), expected(photo), rtol=1e-4)
    both = {"files": [("file", photo), ("file", photo)], "headers": {"Accept": "application/x-scores+json"}}
    assert np.shape(client.post("/invocations", **both).json()) == (2, len(expected(photo)))  # type: ignore[arg-type]
