"""Payload codecs by media type: CODECS read a request's body, ACCEPTS write the answer. One file per format.

A reader is a pure function of the bytes, runs on several threads at once, and raises an error of clearsight.core for
whatever it cannot read. It takes no memory that the body does not already account for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from clearsight.core.registry import Registry
from clearsight.serving.payload import Payload, PredictionResponse

Read: TypeAlias = Callable[[bytes], Payload]
Write: TypeAlias = Callable[[PredictionResponse], bytes]

_IMAGE = "clearsight.serving.codecs.image:read"

CODECS: Registry[Read] = Registry(
    "content type",
    {
        "image/jpeg": _IMAGE,
        "image/png": _IMAGE,
        "image/webp": _IMAGE,
        "image/bmp": _IMAGE,
        "image/gif": _IMAGE,
        "image/tiff": _IMAGE,
        "image/jpg": _IMAGE,  # not a registered type, but half the world sends it
        "application/x-image": _IMAGE,
        "application/octet-stream": _IMAGE,
        "application/json": "clearsight.serving.codecs.json_text:read",
        "application/x-npy": "clearsight.serving.codecs.npy:read",
    },
    group="clearsight.codecs",
)

ACCEPTS: Registry[Write] = Registry(
    "answer type",
    {
        "application/json": "clearsight.serving.codecs.json_text:write",
        "application/x-npy": "clearsight.serving.codecs.npy:write",
        "text/csv": "clearsight.serving.codecs.csv_text:write",
        "application/jsonlines": "clearsight.serving.codecs.jsonlines:write",
    },
    group="clearsight.answers",
)
