"""Runtime onnxruntime: the default, always installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadBundle
from clearsight.core.machine import import_onnxruntime
from clearsight.serving.runtimes import ModelInput

OPTIMIZED = "network.optimized.onnx"  # name of a file in which there is nothing left to optimise


class OnnxSession:
    """Network in onnxruntime's CPU provider."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name

    def run(self, images: ModelInput) -> npt.NDArray[np.float32]:
        return cast(npt.NDArray[np.float32], self._session.run([self._output], {self._input: images})[0])


def load(path: Path, threads: int) -> OnnxSession:
    """Return the network in the ONNX file `path`, on `threads` cores; BadBundle when onnxruntime cannot read it."""
    onnxruntime = import_onnxruntime()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1  # a network is one chain of operators
    options.log_severity_level = 3  # errors alone: a working model needs no warnings
    # Threads that spin between requests take cores from the decoders and from other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if path.name == OPTIMIZED:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return OnnxSession(open_session(path, options))


def open_session(path: Path, options: Any) -> Any:
    """Return onnxruntime's session of a file; raises BadBundle where onnxruntime cannot read it."""
    try:
        return import_onnxruntime().InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no common base below Exception
        reason = " ".join(str(error).split())[:200]
        raise BadBundle(str(path), f"onnxruntime cannot load it ({reason})") from error
