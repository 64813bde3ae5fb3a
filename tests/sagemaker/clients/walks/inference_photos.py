"""Inference script of the kind that authors write: raw images, JSON with base64, and NPY tensors."""

import base64
import io
import json
import os

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms


def model_fn(model_dir):
    model = timm.create_model("mobilenetv2_100", pretrained=False)
    model.load_state_dict(load_file(os.path.join(model_dir, "model.safetensors")))
    return model.eval()


def input_fn(request_body, content_type):
    if content_type == "application/x-npy":
        return torch.from_numpy(np.load(io.BytesIO(request_body)))
    if content_type == "application/json":
        request_body = base64.b64decode(json.loads(request_body)["image"])
    elif content_type not in ("image/jpeg", "image/png"):
        raise ValueError(f"Unsupported content type: {content_type}")
    prepare = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )
    return prepare(Image.open(io.BytesIO(request_body)).convert("RGB")).unsqueeze(0)


def predict_fn(image, model):
    with torch.no_grad():
        return model(image)


def output_fn(logits, accept):
    if accept == "application/x-npy":
        buffer = io.BytesIO()
        np.save(buffer, logits.numpy())
        return buffer.getvalue()
    return json.dumps({"label": int(logits.argmax())})
