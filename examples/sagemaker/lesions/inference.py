"""Serves the network for lesions: a JPEG image in, the probability that it is malignant out."""

import io
import json
import os

import torch
from network import build, prepare
from PIL import Image


def model_fn(model_dir):
    """Return the network."""
    network = build()
    network.load_state_dict(torch.load(os.path.join(model_dir, "model.pth"), map_location="cpu", weights_only=True))
    return network.eval()


def input_fn(request_body, content_type):
    """Return a batch of one image, whose bytes may also be hexadecimal text in JSON."""
    body = bytes.fromhex(json.loads(request_body)["jpeg"]) if content_type == "application/json" else request_body
    with Image.open(io.BytesIO(body)) as image:
        return prepare(image.convert("RGB")).unsqueeze(0)


@torch.no_grad()
def predict_fn(images, network):
    """Return the probability."""
    return torch.sigmoid(network(images)).item()


def output_fn(prediction, accept):
    """Return JSON."""
    return json.dumps({"malignant": prediction}), "application/json"
