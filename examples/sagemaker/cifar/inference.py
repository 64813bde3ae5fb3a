"""Serves ResNet-34 on arrays: pixels (N, 3, 32, 32) as NPY in, logits (N, 10) as NPY out.

input_fn and output_fn are those of the container, which read and write NPY themselves.
"""

import os

import torch
from network import build, prepare


def model_fn(model_dir):
    """Return the network."""
    state = torch.load(os.path.join(model_dir, "model.pth"), map_location="cpu", weights_only=True)
    network = build(len(state["fc.bias"]))
    network.load_state_dict(state)
    return network.eval()


@torch.no_grad()
def predict_fn(images, network):
    """Return logits."""
    return network(prepare(images))
