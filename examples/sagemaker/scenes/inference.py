"""Serves EfficientNet-B0: a JPEG or PNG image in, the probability of each class as JSON out."""

import io
import json
import os

import torch
from network import build, prepare
from PIL import Image


def model_fn(model_dir):
    """Return the network and the names of its classes."""
    with open(os.path.join(model_dir, "classes.json")) as file:
        classes = json.load(file)
    network = build(len(classes))
    network.load_state_dict(torch.load(os.path.join(model_dir, "model.pth"), map_location="cpu", weights_only=True))
    return network.eval(), classes


def input_fn(request_body, content_type):
    """Return a batch of one image."""
    if content_type not in ("image/jpeg", "image/png", "application/x-image"):
        raise ValueError(f"{content_type} is not supported: send image/jpeg or image/png")
    with Image.open(io.BytesIO(request_body)) as image:
        return prepare(image.convert("RGB")).unsqueeze(0)


@torch.no_grad()
def predict_fn(images, model):
    """Return the probability of each class."""
    network, classes = model
    probabilities = torch.softmax(network(images), dim=1)[0]
    return dict(zip(classes, probabilities.tolist(), strict=True))


def output_fn(prediction, accept):
    """Return JSON, whatever is asked for."""
    return json.dumps(prediction), "application/json"
