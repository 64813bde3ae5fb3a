"""Runtime OpenVINO: faster on many Intel machines; needs the extra `openvino`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadBundle, missing_extra
from clearsight.core.machine import import_openvino
from clearsight.serving.runtimes import ModelInput


class OpenVinoSession:
    """Network compiled by OpenVINO for the CPU; one inference request, so `run` takes one thread at a time."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        return cast(npt.NDArray[np.float32], self._request.infer([images])[0])


def load(path: Path, threads: int) -> OpenVinoSession:
    """Return the network in the file `path` (.onnx, or .xml with its .bin), on `threads` cores.

    Raises MissingExtra without the package, BadBundle when OpenVINO cannot read the file.
    """
    try:
        openvino = import_openvino()
    except ModuleNotFoundError:
        raise missing_extra("openvino", "openvino", "runtime openvino") from None

    settings = {
        "PERFORMANCE_HINT": "LATENCY",  # the batcher makes the throughput
        "NUM_STREAMS": "1",  # all cores for one batch, as in onnxruntime
        "INFERENCE_NUM_THREADS": str(threads),
        # On CPUs with bfloat16 units the default is to round to it, and the endpoint would disagree with training.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    try:
        return OpenVinoSession(openvino.Core().compile_model(str(path), "CPU", settings))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-200:]  # its errors end with what is wrong
        raise BadBundle(str(path), f"openvino cannot load it ({reason})") from error
