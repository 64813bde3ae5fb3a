"""Export to ONNX, so that serving needs no torch; the file is checked against the network before it is kept."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from clearsight.core.errors import BadBundle
from clearsight.core.files import write_bytes
from clearsight.models.families.vit import settle
from clearsight.models.network import Network

OPSET = 17
INPUT, OUTPUT = "images", "logits"
_TOLERANCE = 1e-3  # of the largest logit: kernels differ in the order of their sums
_SMALLEST = 1e-3  # a largest logit below this counts as this


def to_onnx(network: Network, path: Path, size: int) -> None:
    """Write `network` for images of `size` x `size` to one ONNX file at `path`, atomically.

    Input "images" (N, 3, S, S) float32, preprocessed; output "logits" (N, C) float32; N is free. The network itself is
    not touched. Raises BadBundle when onnxruntime computes something else than the network; nothing is written then.
    """
    model = detached(network.model, size)
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        data = serialise(model, images[:2])
        worst = max(_difference(model, data, batch) for batch in (images[:1], images))
    except Exception as error:  # exporters and runtimes fail in kinds of their own
        raise BadBundle(network.name, f"it cannot be expressed in ONNX ({_first_line(error)})") from error
    if not worst <= _TOLERANCE:
        raise BadBundle(network.name, f"its ONNX file gives other logits than the network (off by {worst:.3g})")
    write_bytes(path, data)


def detached(module: nn.Module, size: int) -> nn.Module:
    """A copy of `module` on the CPU in float32, contiguous and in eval mode, settled on images of `size` x `size`.

    Hooks stay behind.
    """
    twin = copy.deepcopy(module).to(device="cpu", dtype=torch.float32)
    for part in twin.modules():
        for hooks in (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks):
            hooks.clear()
    for tensor in (*twin.parameters(), *twin.buffers()):
        tensor.data = tensor.data.contiguous()
    settle(twin, size)
    return twin.eval()


def serialise(module: nn.Module, example: Tensor) -> bytes:
    """`module` (in eval mode, on the CPU) as an ONNX file of its own, with the first axis free.

    The exporter that torch calls legacy comes first: 0.3 s where its successor takes 5 s. Where it has gone or cannot
    express the network, the successor does it.
    """
    try:
        with _quiet():
            return _traced(module, example)
    except (RuntimeError, TypeError, ValueError, ImportError, AttributeError) as error:  # includes torch.onnx's own
        with _quiet():
            try:
                return _exported(module, example)
            except (RuntimeError, TypeError, ValueError, ImportError, AttributeError) as second:
                raise second from error


def _traced(module: nn.Module, example: Tensor) -> bytes:
    with io.BytesIO() as stream:
        torch.onnx.export(
            module,
            (example,),
            stream,  # type: ignore[arg-type]  # typed for paths, documented for streams
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "N"}, OUTPUT: {0: "N"}},
            opset_version=OPSET,
            dynamo=False,
        )
        return stream.getvalue()


def _exported(module: nn.Module, example: Tensor) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            module,
            (example,),
            path,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        return path.read_bytes()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn about themselves, print progress, and dump whole graphs from C++; none of it is news to a user.

    Standard output must stay clean (it may carry JSON), hence the file descriptors, not only Python's streams.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("ignore")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, nowhere)
        for stream in (1, 2):
            kept = os.dup(stream)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, stream)
            os.dup2(nowhere, stream)
        for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr):
            stack.enter_context(redirect(io.StringIO()))
        yield


def _difference(model: nn.Module, data: bytes, batch: Tensor) -> float:
    """Largest difference of the logits as a share of the largest logit."""
    with torch.inference_mode():
        wanted = model(batch).numpy()
    got = onnx_session(data)(batch.numpy())
    if got.shape != wanted.shape:
        return float("inf")
    return float(np.abs(got - wanted).max()) / max(_SMALLEST, float(np.abs(wanted).max()))


def onnx_session(data: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """The ONNX file in `data` as a function of a batch, by onnxruntime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(batch: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(None, {name: batch})[0])

    return run


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
