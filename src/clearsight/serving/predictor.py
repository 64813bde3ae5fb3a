"""Predictor: a bundle on a runtime, with the bundle's preprocessing; classifies images."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from clearsight.core.bundle import Bundle
from clearsight.core.dataset import StoredPixels
from clearsight.core.errors import BadBundle, BadShape, EmptyInput, as_bad_bundle
from clearsight.core.probabilities import calibrated, softmax
from clearsight.serving.payload import Image, Prepared, Probabilities, record
from clearsight.serving.runtimes import RUNTIMES, Session
from clearsight.serving.runtimes.optimized import optimized_file

# An encoded file or stored pixels to the model's input: (3, S, S) float32, or (S, S, 3) uint8 for a network that
# prepares pixels itself; raises BadImage. Thread safe.
Prepare: TypeAlias = Callable[[bytes | StoredPixels], Prepared]

_SAME = 1e-3  # probability: a single image and the same image in a batch may differ by rounding alone


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """Cost of an image by its header alone. memory: bytes that decoding takes at most."""

    pixels: int
    memory: int


def _free(image: bytes) -> DecodeCost:
    return DecodeCost(0, len(image))


@dataclass(frozen=True)
class Predictor:
    """Classifies images. `prepared` may be called from several threads at once, the rest from one at a time.

    measure: cost of an encoded file; raises BadImage for one without a header.  pixels_of: for a network that prepares
    pixels itself, turns a prepared image (3, S, S) float32 back into pixels (S, S, 3) uint8; raises BadValue.
    """

    bundle: Bundle
    session: Session
    prepare: Prepare
    measure: Callable[[bytes], DecodeCost] = _free
    pixels_of: Callable[[Prepared], Prepared] | None = None

    @property
    def takes_pixels(self) -> bool:
        """Return True for a network whose input is (N, S, S, 3) uint8 instead of (N, 3, S, S) float32."""
        return self.pixels_of is not None

    def cost(self, image: Image) -> DecodeCost:
        """Return what it takes to prepare an image; raises BadImage for a file whose header is damaged."""
        if isinstance(image, bytes):
            return self.measure(image) if image else DecodeCost(0, 0)
        pixels = image.shape[0] * image.shape[1] if image.dtype == np.uint8 else 0
        return DecodeCost(pixels, 0)  # the body holds them

    def prepared(self, image: Image) -> Prepared:
        """Return the model's input, as `prepare` returns it; raises BadImage, BadShape, BadValue, EmptyInput."""
        if isinstance(image, bytes):
            if not image:
                raise EmptyInput("image", "it holds no bytes")
            return self.prepare(image)
        if image.dtype == np.uint8:
            return self.prepare(image)
        expected = (3, self.bundle.preprocess.size, self.bundle.preprocess.size)
        if image.shape != expected:
            problem = f"prepared images must have the shape {expected}"
            raise BadShape(f"array {image.shape}", problem, fix="Or send uint8 pixels.")
        numbers = np.asarray(image, dtype=np.float32)  # clients send float64 or float16, too
        return numbers if self.pixels_of is None else self.pixels_of(numbers)

    def probabilities(self, images: Prepared) -> Probabilities:
        """Return the calibrated probabilities (N, C) float64 of the model's inputs, stacked: (N, 3, S, S).

        A row whose logits are not finite becomes NaN, so that it affects no other row of the batch.
        """
        logits = self.session.run(np.ascontiguousarray(images))
        return softmax(calibrated(logits, self.bundle.temperature, self.bundle.calibration))

    def record(self, row: Probabilities, top_k: int = 5) -> dict[str, Any]:
        """Return a row (C,) of probabilities as {"label", "probability", "probabilities", "top"}."""
        return record(row, self.bundle.classes, top_k)

    def check_outputs(self) -> None:
        """Raise BadBundle unless the network takes images of the manifest's size and has an output for each class."""
        size, classes = self.bundle.preprocess.size, len(self.bundle.classes)
        problem = f"its network cannot classify an image of {size} x {size} pixels"
        with as_bad_bundle(str(self.bundle.path), problem):
            pixels = np.zeros((1, size, size, 3), np.uint8) if self.takes_pixels else None
            logits = self.session.run(np.zeros((1, 3, size, size), np.float32) if pixels is None else pixels)
        if logits.shape != (1, classes):
            outputs = "x".join(str(count) for count in logits.shape[1:])
            raise BadBundle(str(self.bundle.path), f"its network has {outputs} outputs for {classes} classes")

    def canary(self) -> None:
        """Classify a synthetic PNG, singly and in a batch of two; raises BadBundle for a wrong result."""
        image = self.prepared(synthetic_png())
        single, pair = self.probabilities(image[None]), self.probabilities(np.stack([image, image]))
        name, classes = str(self.bundle.path), len(self.bundle.classes)
        if single.shape != (1, classes) or pair.shape != (2, classes):
            raise BadBundle(name, f"the model gives {single.shape[-1]} numbers for {classes} classes")
        if not (np.isfinite(single).all() and np.isfinite(pair).all()):
            raise BadBundle(name, "the model gives numbers that are not finite")
        if np.abs(pair - single).max() > _SAME:
            raise BadBundle(
                name, "the model gives other probabilities for an image in a batch than for the image alone"
            )


def load(
    bundle: Bundle,
    prepare: Prepare,
    *,
    measure: Callable[[bytes], DecodeCost] = _free,
    runtime: str = "onnxruntime",
    threads: int = 1,
    optimized: Path | None = None,
) -> Predictor:
    """Return a predictor for `bundle` on the named runtime, inference on `threads` cores.

    optimized: folder in which onnxruntime's optimised networks are kept between starts; None optimises at each start.
    Raises BadBundle without a usable model.onnx, BadChoice for an unknown runtime, MissingExtra.
    """
    open_session = RUNTIMES.load(runtime)  # first: a wrong name is the user's error, not the bundle's
    if not bundle.has_onnx:
        problem = "it holds no model.onnx, which serving needs"
        raise BadBundle(str(bundle.path), problem, fix="Export the model to ONNX first.")
    path = bundle.onnx
    if optimized is not None and runtime == "onnxruntime":
        path = optimized_file(path, bundle.files[path.name], optimized)
    predictor = Predictor(bundle, open_session(path, threads), prepare, measure)
    predictor.check_outputs()
    return predictor


def synthetic_png(side: int = 64) -> bytes:
    """Return a colour gradient as an encoded RGB PNG of side x side pixels, made without an image library."""
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], ramp[::-1, None]), axis=-1)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # each row is preceded by its filter: none
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
