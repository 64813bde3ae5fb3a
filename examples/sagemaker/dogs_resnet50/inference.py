"""Serves ResNet-50 with one function for the whole request, for an endpoint and for a batch transform."""

import io
import json
import os

import torch
from network import build, prepare
from PIL import Image


def model_fn(model_dir):
    """Return the network and its classes."""
    with open(os.path.join(model_dir, "classes.json")) as file:
        classes = json.load(file)
    network = build(len(classes))
    network.load_state_dict(torch.load(os.path.join(model_dir, "model.pth"), map_location="cpu", weights_only=True))
    return network.eval(), classes


@torch.no_grad()
def transform_fn(model, request_body, content_type, accept):
    """Return the likeliest breed of an image and its probability."""
    network, classes = model
    with Image.open(io.BytesIO(request_body)) as image:
        pixels = prepare(image.convert("RGB")).unsqueeze(0)
    probabilities = torch.softmax(network(pixels), dim=1)[0]
    place = int(probabilities.argmax())
    return json.dumps({"breed": classes[place], "probability": float(probabilities[place])}), "application/json"
