"""Inference runtimes: each turns a bundle's model.onnx into a session that answers on the CPU, without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from clearsight.core.registry import Registry


class Session(Protocol):
    """A loaded network. `run` is called by one thread at a time; it need not be the thread that loaded it."""

    def run(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return logits (N, C) of prepared images (N, 3, S, S), for any N >= 1; the array is the caller's."""


Load: TypeAlias = Callable[[Path, int], Session]  # (model.onnx, threads); raises BadBundle for a damaged file

RUNTIMES: Registry[Load] = Registry(
    "runtime",
    {"onnxruntime": "clearsight.serving.runtimes.onnx:load", "openvino": "clearsight.serving.runtimes.openvino:load"},
    group="clearsight.runtimes",
)
