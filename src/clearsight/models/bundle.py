"""Networks in bundles: save one, and load an equal one back."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from clearsight.core.bundle import MACHINES, MANIFEST, Bundle
from clearsight.core.errors import BadBundle, ClearsightError
from clearsight.core.exports import is_export_file
from clearsight.core.files import atomic, write_text
from clearsight.models.export import to_onnx
from clearsight.models.network import Network
from clearsight.models.weights import read
from clearsight.models.zoo import ModelSpec, build

LOG = logging.getLogger("clearsight.models")

# One stable module, since this text is copied into bundles that outlive versions of clearsight.
_ENTRY_POINTS = '''"""Entry points for SageMaker-style containers; written by clearsight beside the model."""

from clearsight.workflow.inference import input_fn, model_fn, output_fn, predict_fn

__all__ = ["input_fn", "model_fn", "output_fn", "predict_fn"]
'''


def save(network: Network, manifest: Bundle, folder: Path) -> Bundle:
    """Write `network` into `folder` as a sealed bundle: weights, ONNX, entry points and last the manifest.

    manifest: everything but the files; its model, head, dropout and classes must be those that the network was built
    with. A network that ONNX cannot express is saved without model.onnx, and the log says so. Raises DiskFull.
    """
    bundle = save_weights(network, manifest, folder)
    try:
        return add_onnx(network, bundle)
    except BadBundle as error:
        LOG.warning("%s The bundle in %s is complete without model.onnx.", error, folder)
        return bundle


def save_weights(network: Network, manifest: Bundle, folder: Path) -> Bundle:
    """Write `network` into `folder` as a sealed bundle without an ONNX file. Raises DiskFull."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # while its files change, there is no bundle here
    _write_weights(network.model.state_dict(), manifest, folder / "model.safetensors")
    write_text(folder / "code" / "inference.py", _ENTRY_POINTS)
    for path in folder.iterdir():  # of other weights
        if is_export_file(path.name) or path.name == MACHINES:
            path.unlink()
    return manifest.seal(folder)


def add_onnx(network: Network, bundle: Bundle) -> Bundle:
    """Write model.onnx of `network` into its bundle and return the bundle, sealed again.

    Raises DiskFull, and BadBundle for a network that ONNX cannot express; the bundle is then as before.
    """
    # Sealed with the file or without it: a kill in between leaves a file that the manifest does not list.
    to_onnx(network, bundle.onnx, bundle.preprocess.size)
    return bundle.seal(bundle.path)


def load(bundle: Bundle) -> Network:
    """Return the network in `bundle`, in eval mode on the CPU; its logits equal those of the network that was saved.

    Raises BadBundle when its weights and its manifest do not belong together.
    """
    spec = ModelSpec(model=bundle.model, classes=len(bundle.classes), head=bundle.head, dropout=bundle.dropout)
    try:
        network = build(spec)
        network.model.load_state_dict(read(bundle.weights)[0].tensors)
    except ClearsightError as error:
        raise BadBundle(str(bundle.path), f"its network cannot be rebuilt ({error})") from error
    except RuntimeError as error:  # load_state_dict: keys or shapes
        problem = f"its weights do not fit {bundle.model} as its manifest describes it"
        raise BadBundle(str(bundle.path), problem) from error
    network.model.eval()
    for stage in network.stages:  # they may hold modules that the model itself does not contain
        stage.run.eval()
    return replace(network, preprocess=bundle.preprocess, weights=f"the bundle {bundle.path}")


def _write_weights(state: Mapping[str, Tensor], manifest: Bundle, path: Path) -> None:
    """Write the weights with metadata as timm has it, so that `--weights` takes the file, with its mean and std."""
    from safetensors.torch import save_file

    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    preprocess = manifest.preprocess
    config = {
        "architecture": manifest.model.rpartition("/")[2].partition(".")[0],
        "label_names": list(manifest.classes),  # a copy of the file alone still says what its head tells apart
        "pretrained_cfg": {
            "input_size": [3, preprocess.size, preprocess.size],
            "mean": preprocess.mean,
            "std": preprocess.std,
            "interpolation": preprocess.interpolation,
            "crop_pct": preprocess.size / preprocess.resize,
        },
    }
    with atomic(path) as part:
        # One key only: safetensors writes several in random order, and equal bundles must be equal bytes.
        save_file(tensors, part, metadata={"config": json.dumps(config)})
