"""Serves the head on AlexNet: {"image": base64} in, the three likeliest breeds out."""

import base64
import io
import json
import os

import torch
from network import build, prepare
from PIL import Image


def model_fn(model_dir):
    """Return the network and its classes."""
    with open(os.path.join(model_dir, "network.json")) as file:
        facts = json.load(file)
    network = build(len(facts["classes"]), facts["head"])
    network.load_state_dict(torch.load(os.path.join(model_dir, "model.pth"), map_location="cpu", weights_only=True))
    return network.eval(), facts["classes"]


def input_fn(request_body, content_type):
    """Return a batch of one image."""
    if content_type != "application/json":
        raise ValueError(f'{content_type} is not supported: send JSON such as {{"image": "base64"}}')
    body = base64.b64decode(json.loads(request_body)["image"])
    with Image.open(io.BytesIO(body)) as image:
        return prepare(image.convert("RGB")).unsqueeze(0)


@torch.no_grad()
def predict_fn(images, model):
    """Return names and probabilities, the likeliest first."""
    network, classes = model
    values, places = torch.softmax(network(images), dim=1)[0].topk(min(3, len(classes)))
    pairs = zip(places, values.tolist(), strict=True)
    return [{"breed": classes[place], "probability": value} for place, value in pairs]


def output_fn(prediction, accept):
    """Return JSON."""
    return json.dumps(prediction), "application/json"
