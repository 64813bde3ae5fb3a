"""Serves a network of examples/sagemaker for each kind of body that notebooks send: JPEG, PNG, JSON, NPY.

It stands beside the network.py and the inference.py of an example, whose model_fn it uses.
"""

import base64
import io
import json

import network
import numpy as np
import requests
import torch
from inference import model_fn  # noqa: F401  (the server calls it)
from PIL import Image

SMALL = 32  # pixels of networks that get arrays


def input_fn(request_body, content_type):
    """Return a batch of prepared images."""
    if content_type == "application/x-npy":
        return torch.from_numpy(np.load(io.BytesIO(request_body))).float()
    if content_type == "application/json":
        value = json.loads(request_body)
        body = requests.get(value["url"], timeout=10).content if "url" in value else base64.b64decode(value["image"])
    elif content_type in ("image/jpeg", "image/png"):
        body = request_body
    else:
        raise ValueError(f"{content_type} is not supported")
    with Image.open(io.BytesIO(body)) as image:
        return _prepared(image.convert("RGB"))


def _prepared(image):
    if hasattr(network, "SIZE"):
        return network.prepare(image).unsqueeze(0)
    pixels = torch.from_numpy(np.array(image.resize((SMALL, SMALL)))).permute(2, 0, 1)[None]
    return network.prepare(pixels)


@torch.no_grad()
def predict_fn(images, model):
    """Return the outputs of the network."""
    return (model[0] if isinstance(model, tuple) else model)(images)
