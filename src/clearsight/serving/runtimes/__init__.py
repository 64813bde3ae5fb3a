"""Inference runtimes: each turns a model file of a bundle into a session that answers on the CPU, without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from clearsight.core.registry import Registry

ModelInput: TypeAlias = npt.NDArray[Any]  # float32 or uint8; see Session.run


class Session(Protocol):
    """A loaded network. `run` is called by one thread at a time; it need not be the thread that loaded it."""

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        """Return logits (N, C) for any N >= 1; the array is the caller's.

        images: prepared (N, 3, S, S) float32, or (N, S, S, 3) uint8 for a network that prepares pixels itself.
        """


Load: TypeAlias = Callable[[Path, int], Session]  # (model file, threads); raises BadBundle for a damaged file

RUNTIMES: Registry[Load] = Registry(
    "runtime",
    {"onnxruntime": "clearsight.serving.runtimes.onnx:load", "openvino": "clearsight.serving.runtimes.openvino:load"},
    group="clearsight.runtimes",
)
