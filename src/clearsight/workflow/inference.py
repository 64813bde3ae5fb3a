"""Entry points of a bundle for SageMaker-style containers: model_fn, input_fn, predict_fn, output_fn.

The code/inference.py of every bundle imports these four names from here and nothing else from clearsight, so that
bundles on disk keep working when other modules change. They must keep their names and signatures. No torch is loaded.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from clearsight.core.bundle import Bundle
from clearsight.data.geometry import prepare
from clearsight.serving.codecs import ACCEPTS, CODECS
from clearsight.serving.negotiation import request_type, response_type
from clearsight.serving.payload import Payload, PredictionResponse
from clearsight.serving.predictor import Predictor, load


def model_fn(model_dir: str) -> Predictor:
    """Return the predictor for the bundle in `model_dir`; it runs on onnxruntime."""
    bundle = Bundle.open(Path(model_dir))
    return load(bundle, partial(prepare, preprocess=bundle.preprocess))


def input_fn(request_body: bytes | str, content_type: str = "application/octet-stream") -> Payload:
    """Return the images of a request: an encoded image, JSON with base64, or an NPY array."""
    # Containers pass text types as str and everything else as bytes or bytearray.
    body = request_body.encode() if isinstance(request_body, str) else bytes(request_body)
    return CODECS.load(request_type(content_type, body, CODECS.names()))(body)


def predict_fn(payload: Payload, predictor: Predictor) -> PredictionResponse:
    """Return the class probabilities of every image."""
    images = np.stack([predictor.prepared(image) for image in payload.images])
    probabilities = predictor.probabilities(images)
    return PredictionResponse(classes=predictor.bundle.classes, probabilities=probabilities, batch=payload.batch)


def output_fn(prediction: PredictionResponse, accept: str = "application/json") -> tuple[bytes, str]:
    """Return the response body and its media type."""
    media_type = response_type(accept, ACCEPTS.names())
    return ACCEPTS.load(media_type)(prediction), media_type
