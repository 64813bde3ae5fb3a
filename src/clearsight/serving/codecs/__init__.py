"""Payload codecs by media type: CODECS read the request's body, ACCEPTS write the response. One file per format.

A reader is a pure function of the bytes, runs on several threads at once, and raises an error of clearsight.core for
what it cannot read. Its memory is bounded by the size of the body.
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
        "image/jpg": _IMAGE,  # not a registered type, but common
        "application/x-image": _IMAGE,
        "application/octet-stream": _IMAGE,  # what clients send that name no type
        "application/json": "clearsight.serving.codecs.json_text:read",
        "application/x-npy": "clearsight.serving.codecs.npy:read",
        "application/zip": "clearsight.serving.codecs.zip_archive:read",
        "multipart/form-data": "clearsight.serving.codecs.multipart:read",
    },
    group="clearsight.codecs",
)

# The first is the response without an Accept header.
ACCEPTS: Registry[Write] = Registry(
    "response type",
    {
        "application/json": "clearsight.serving.codecs.json_text:write",
        "application/x-npy": "clearsight.serving.codecs.npy:write",
        "text/csv": "clearsight.serving.codecs.csv_text:write",
        "application/jsonlines": "clearsight.serving.codecs.jsonlines:write",
        "application/x-scores+json": "clearsight.serving.codecs.scores:write",
    },
    group="clearsight.answers",  # the name that other distributions registered under
)
