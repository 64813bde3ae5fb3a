"""The model's side of a bundle: write a network into it, and get the very same network back."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from clearsight.core.bundle import MANIFEST, Bundle
from clearsight.core.errors import BadBundle, ClearsightError
from clearsight.core.files import atomic, write_text
from clearsight.core.preprocess import Preprocess
from clearsight.models.export import to_onnx
from clearsight.models.network import Network
from clearsight.models.weights import read
from clearsight.models.zoo import ModelSpec, build

LOG = logging.getLogger("clearsight.models")

_ENTRY_POINTS = '''"""Entry points for SageMaker-style containers; written by clearsight beside the model."""

from functools import partial
from pathlib import Path

import numpy as np

from clearsight.core.bundle import Bundle
from clearsight.data.geometry import prepare
from clearsight.serving.codecs import ACCEPTS, CODECS
from clearsight.serving.negotiation import answering, reading
from clearsight.serving.payload import Answer
from clearsight.serving.predictor import load


def model_fn(model_dir):
    """The predictor for the bundle in `model_dir`; runs on onnxruntime, torch is not imported."""
    bundle = Bundle.open(Path(model_dir))
    return load(bundle, partial(prepare, preprocess=bundle.preprocess))


def input_fn(request_body, content_type="application/octet-stream"):
    """The images in a request: an encoded image, JSON with base64, or an NPY array."""
    body = request_body.encode() if isinstance(request_body, str) else bytes(request_body)
    return CODECS.load(reading(content_type, body, CODECS.names()))(body)


def predict_fn(payload, predictor):
    """Class probabilities of every image."""
    images = np.stack([predictor.prepared(image) for image in payload.images])
    probabilities = predictor.probabilities(images)
    return Answer(classes=predictor.bundle.classes, probabilities=probabilities, batch=payload.batch)


def output_fn(answer, accept="application/json"):
    """The answer as bytes and its media type."""
    media_type = answering(accept, ACCEPTS.names())
    return ACCEPTS.load(media_type)(answer), media_type
'''


def save(network: Network, manifest: Bundle, folder: Path) -> Bundle:
    """Write `network` into `folder` as a sealed bundle: weights, ONNX, entry points and last the manifest.

    `manifest` says all but the files; its model, head, dropout and classes must be those that the network was built
    with. A network that ONNX cannot express is saved without model.onnx, and the log says so. Raises DiskFull.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # while its files change, there is no bundle here
    _write_weights(network.model.state_dict(), manifest, folder / "model.safetensors")
    write_text(folder / "code" / "inference.py", _ENTRY_POINTS)
    onnx = folder / "model.onnx"
    onnx.unlink(missing_ok=True)
    try:
        to_onnx(network, onnx, manifest.preprocess.size)
    except BadBundle as error:
        LOG.warning("%s Serving needs model.onnx; the rest of the bundle in %s is whole.", error, folder)
    return manifest.seal(folder)


def load(bundle: Bundle) -> Network:
    """The network in `bundle`, in eval mode on the CPU; its logits equal those of the network that was saved.

    Raises BadBundle when its weights and its manifest do not belong together.
    """
    spec = ModelSpec(model=bundle.model, classes=len(bundle.classes), head=bundle.head, dropout=bundle.dropout)
    try:
        network = build(spec)
        tensors, _ = read(bundle.weights)
        network.model.load_state_dict(tensors)
    except ClearsightError as error:
        raise BadBundle(str(bundle.path), f"its network cannot be rebuilt ({error})") from error
    except RuntimeError as error:  # load_state_dict: keys or shapes
        raise BadBundle(
            str(bundle.path), f"its weights do not fit {bundle.model} as its manifest describes it"
        ) from error
    network.model.eval()
    for stage in network.stages:
        stage.run.eval()
    return replace(network, preprocess=bundle.preprocess, weights=f"the bundle {bundle.path}")


def _write_weights(state: Mapping[str, Tensor], manifest: Bundle, path: Path) -> None:
    """Metadata as timm writes it, so that the file is a good `--weights` too, with its own mean and std."""
    from safetensors.torch import save_file

    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    architecture = manifest.model.rpartition("/")[2].partition(".")[0]
    config = {"architecture": architecture, "pretrained_cfg": _timm_config(manifest.preprocess)}
    with atomic(path) as part:
        # One key only: safetensors writes several in random order, and equal bundles shall be equal bytes.
        save_file(tensors, part, metadata={"config": json.dumps(config)})


def _timm_config(preprocess: Preprocess) -> dict[str, Any]:
    return {
        "input_size": [3, preprocess.size, preprocess.size],
        "mean": preprocess.mean,
        "std": preprocess.std,
        "interpolation": preprocess.interpolation,
        "crop_pct": preprocess.size / preprocess.resize,
    }
