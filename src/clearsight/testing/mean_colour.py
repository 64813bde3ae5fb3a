"""MeanColour: a tiny complete bundle without torch, for tests of serving, packing and predicting.

Its logits are the mean colour of an image times WEIGHTS, so a test can compute the expected probabilities itself.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clearsight.core.bundle import Bundle
from clearsight.core.dataset import Pixels
from clearsight.core.errors import BadImage
from clearsight.core.preprocess import Preprocess

SIZE = 16  # pixels
CLASSES = ("red", "green", "blue, or so", "weiß")  # a comma and a letter beyond ASCII: what CSV and headers may spoil
WEIGHTS: npt.NDArray[np.float32] = np.array([[9, -3, -3, 0.5], [-3, 9, -3, 0.5], [-3, -3, 9, 0.5]], dtype=np.float32)

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_MAX_PIXELS = 1_000_000  # low, so that a test can exceed it with a small file


def write_network(path: Path) -> Path:
    """Write the ONNX file. Logits (N, C) are the means of images (N, 3, S, S) over both sides, times WEIGHTS (3, C)."""
    import onnx

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "mean_colour",
        [helper.make_tensor_value_info("images", kind, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", kind, ["n", WEIGHTS.shape[1]])],
        [onnx.numpy_helper.from_array(WEIGHTS, "weights")],
    )
    # Old versions of both on purpose: every supported runtime reads them.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def make_bundle(folder: Path, *, temperature: float = 1.0) -> Bundle:
    """Write a sealed bundle of the network into `folder` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_network(folder / "model.onnx")
    preprocess = Preprocess(size=SIZE, resize=SIZE)
    return Bundle(model="mean_colour", classes=CLASSES, preprocess=preprocess, temperature=temperature).seal(folder)


def prepare(raw: bytes | Pixels) -> npt.NDArray[np.float32]:
    """Return an image resized to S x S, as (3, S, S) in [0, 1]. Raises BadImage if it is damaged or over 1 Mpx."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(raw), formats=_FORMATS) if isinstance(raw, bytes) else Image.fromarray(raw)
        if image.width * image.height > _MAX_PIXELS:
            raise BadImage("image", f"it has {image.width} x {image.height} pixels, over the limit")
        small = image.convert("RGB").resize((SIZE, SIZE))
    # What Pillow raises for damaged files, format by format.
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError) as error:
        raise BadImage("image", f"it cannot be decoded ({error})") from None
    return np.ascontiguousarray(np.asarray(small, dtype=np.float32).transpose(2, 0, 1) / 255)


def expected(image: bytes | Pixels) -> npt.NDArray[np.float64]:
    """Return the probabilities (C,) of an image at temperature 1, computed without a predictor."""
    # In float64: the expected value must be the exact one.
    logits = prepare(image).mean(axis=(1, 2)).astype(np.float64) @ WEIGHTS.astype(np.float64)
    powers: npt.NDArray[np.float64] = np.exp(logits - logits.max())  # the maximum keeps exp() finite
    return np.asarray(powers / powers.sum())
