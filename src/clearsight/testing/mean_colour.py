"""MeanColour: the smallest model that tells images apart, whole and without torch, for tests of everything around it.

Its logits are the mean colour of the image times WEIGHTS, so a test can work out what any image must get.
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

SIZE = 16
CLASSES = ("red", "green", "blue, or so", "weiß")
WEIGHTS: npt.NDArray[np.float32] = np.array([[9, -3, -3, 0.5], [-3, 9, -3, 0.5], [-3, -3, 9, 0.5]], dtype=np.float32)

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_MOST_PIXELS = 1_000_000


def write_network(path: Path) -> Path:
    """Write the ONNX file: images (N, 3, S, S), their means over both sides, times WEIGHTS (3, C), logits (N, C)."""
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
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def make_bundle(folder: Path, *, temperature: float = 1.0) -> Bundle:
    """A sealed bundle around the network."""
    folder.mkdir(parents=True, exist_ok=True)
    write_network(folder / "model.onnx")
    preprocess = Preprocess(size=SIZE, resize=SIZE)
    return Bundle(model="mean_colour", classes=CLASSES, preprocess=preprocess, temperature=temperature).seal(folder)


def prepare(raw: bytes | Pixels) -> npt.NDArray[np.float32]:
    """(3, S, S) in [0, 1] of an image, squeezed to S x S; strict: BadImage for a damaged file or one over 1 Mpx."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(raw), formats=_FORMATS) if isinstance(raw, bytes) else Image.fromarray(raw)
        if image.width * image.height > _MOST_PIXELS:
            raise BadImage("image", f"it has {image.width} x {image.height} pixels, over the limit")
        small = image.convert("RGB").resize((SIZE, SIZE))
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError) as error:
        raise BadImage("image", f"it cannot be decoded ({error})") from None
    return np.ascontiguousarray(np.asarray(small, dtype=np.float32).transpose(2, 0, 1) / 255)


def expected(image: bytes | Pixels) -> npt.NDArray[np.float64]:
    """Probabilities (C,) that a predictor of the bundle must give at temperature 1, worked out without one."""
    logits = prepare(image).mean(axis=(1, 2)).astype(np.float64) @ WEIGHTS.astype(np.float64)
    powers: npt.NDArray[np.float64] = np.exp(logits - logits.max())
    rows: npt.NDArray[np.float64] = powers / powers.sum()
    return rows
