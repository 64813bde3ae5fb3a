"""Predictor: a bundle, a runtime and the one preprocessing, together able to answer for images."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np

from clearsight.core.bundle import Bundle
from clearsight.core.dataset import Pixels
from clearsight.core.errors import BadBundle, BadShape, EmptyInput
from clearsight.serving.payload import Image, Prepared, Probabilities, record
from clearsight.serving.runtimes import RUNTIMES, Session

# An encoded file or decoded pixels (H, W, 3) to the model's input (3, S, S) float32; raises BadImage. Thread safe.
Prepare: TypeAlias = Callable[[bytes | Pixels], Prepared]

_SAME = 1e-3  # a lone image and the same one in a batch may differ by rounding, not by more


@dataclass(frozen=True)
class Predictor:
    """Answers for images. `prepared` may be called from several threads at once, the rest from one at a time."""

    bundle: Bundle
    session: Session
    prepare: Prepare

    def prepared(self, image: Image) -> Prepared:
        """The model's input (3, S, S) float32; raises BadImage, BadShape, EmptyInput."""
        if isinstance(image, bytes):
            if not image:
                raise EmptyInput("image", "it holds no bytes")
            return self.prepare(image)
        if image.dtype == np.uint8:
            return self.prepare(cast(Pixels, image))
        wanted = (3, self.bundle.preprocess.size, self.bundle.preprocess.size)
        if image.shape != wanted:
            raise BadShape(
                f"array {image.shape}", f"prepared images must have the shape {wanted}", fix="Or send uint8 pixels."
            )
        return np.asarray(image, dtype=np.float32)

    def probabilities(self, images: Prepared) -> Probabilities:
        """(N, C) float64 for prepared images (N, 3, S, S): softmax(logits / temperature), rows sum to 1.

        A row whose logits are not finite comes back as NaN, so that it spoils no other row of the batch.
        """
        scaled = self.session.run(np.ascontiguousarray(images)).astype(np.float64) / self.bundle.temperature
        with np.errstate(invalid="ignore"):
            powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
            rows: Probabilities = powers / powers.sum(axis=1, keepdims=True)
        return rows

    def answer(self, row: Probabilities, top_k: int = 5) -> dict[str, Any]:
        """One row (C,) of probabilities in words: {"label", "probability", "probabilities", "top"}."""
        return record(row, self.bundle.classes, top_k)

    def canary(self) -> None:
        """Run a synthetic PNG all the way through, alone and in a batch of two; raises BadBundle for a wrong answer."""
        image = self.prepared(synthetic_png())
        alone, pair = self.probabilities(image[None]), self.probabilities(np.stack([image, image]))
        classes = len(self.bundle.classes)
        if alone.shape != (1, classes) or pair.shape != (2, classes):
            raise BadBundle(
                str(self.bundle.path), f"the model answers with {alone.shape[-1]} numbers for {classes} classes"
            )
        if not (np.isfinite(alone).all() and np.isfinite(pair).all()):
            raise BadBundle(str(self.bundle.path), "the model answers with numbers that are not finite")
        if np.abs(pair - alone).max() > _SAME:
            raise BadBundle(str(self.bundle.path), "the model answers differently for an image alone and in a batch")


def load(bundle: Bundle, prepare: Prepare, *, runtime: str = "onnxruntime", threads: int = 1) -> Predictor:
    """A predictor for `bundle` on the named runtime, inference on `threads` cores.

    Raises BadBundle without a usable model.onnx, BadChoice for an unknown runtime, MissingExtra.
    """
    open_session = RUNTIMES.load(runtime)
    if not bundle.onnx.is_file():
        raise BadBundle(
            str(bundle.path), "it holds no model.onnx, which serving needs", fix="Export the model to ONNX first."
        )
    return Predictor(bundle, open_session(bundle.onnx, threads), prepare)


def synthetic_png(side: int = 64) -> bytes:
    """A colour gradient as an encoded RGB PNG of side x side pixels, made without an image library."""
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], ramp[::-1, None]), axis=-1)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # each row is preceded by its filter: none
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
