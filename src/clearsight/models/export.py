"""Export to ONNX, so that serving needs no torch, and to torch.export; training checks its ONNX file here."""

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

from clearsight.core.errors import BadBundle, as_bad_bundle
from clearsight.core.files import write_bytes
from clearsight.core.machine import import_onnxruntime
from clearsight.models.families.vit import fix_image_size
from clearsight.models.network import Network

OPSET = 17  # the first with LayerNormalization as one operator; onnxruntime has read it since 1.12
INPUT, OUTPUT = "images", "logits"
_TOLERANCE = 1e-3  # of the largest logit: kernels differ in the order of their sums
_ROUNDING = 4.0  # times the network's own float32 error: the error of another order of sums is of this size
_SMALLEST = 1e-3  # scale of logits that are all smaller: a relative difference would be rounding alone


def to_onnx(network: Network, path: Path, size: int) -> None:
    """Write `network` for images of `size` x `size` to one ONNX file at `path`, atomically.

    Input "images" (N, 3, S, S) float32, preprocessed; output "logits" (N, C) float32; N is free. The network does not
    change. Raises BadBundle when onnxruntime gives other logits than the network; nothing is written then. Logits that
    differ by more than float32 usually does are compared with those in float64: large weights amplify rounding.
    """
    model = detached(network.model, size)
    # Noise, since an image of one colour would hide errors in convolutions and poolings.
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    with as_bad_bundle(network.name, "it cannot be expressed in ONNX"):
        data = serialise(model, images[:2])
        # One image and several: an exporter may have fixed the size of the batch that it traced (two).
        worst = max(_difference(model, data, batch) for batch in (images[:1], images))
        accepted = worst <= _TOLERANCE or _rounds_alike(model, data, images)  # NaN counts as a difference
    if not accepted:
        raise BadBundle(network.name, f"its ONNX file gives other logits than the network (off by {worst:.3g})")
    write_bytes(path, data)


def onnx_graph(network: Network, size: int) -> bytes:
    """Return `network` for images of `size` x `size` as the bytes of an ONNX file; it is not compared with anything.

    Input and output are those of `to_onnx`. Raises BadBundle for a network that ONNX cannot express.
    """
    with as_bad_bundle(network.name, "it cannot be expressed in ONNX"):
        return serialise(detached(network.model, size), torch.zeros(2, 3, size, size))


def write_program(network: Network, path: Path, size: int) -> None:
    """Write `network` for images of `size` x `size` as a program of torch.export (.pt2), with the first axis free.

    Raises BadBundle for a network that torch.export cannot express.
    """
    with as_bad_bundle(network.name, "torch.export cannot express it"), silenced():
        batch = torch.zeros(2, 3, size, size)  # two: torch.export takes a size of one as fixed
        free = ({0: torch.export.Dim("N", min=1)},)
        torch.export.save(torch.export.export(detached(network.model, size), (batch,), dynamic_shapes=free), path)


def detached(module: nn.Module, size: int) -> nn.Module:
    """Return a copy of `module` without hooks, on the CPU in float32, contiguous and in eval mode.

    Transformers in it are fixed to images of `size` x `size` pixels.
    """
    twin = copy.deepcopy(module).to(device="cpu", dtype=torch.float32)
    for part in twin.modules():
        for hooks in (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks):
            hooks.clear()
    for tensor in (*twin.parameters(), *twin.buffers()):
        tensor.data = tensor.data.contiguous()
    fix_image_size(twin, size)
    return twin.eval()


def serialise(module: nn.Module, example: Tensor) -> bytes:
    """Return `module` (in eval mode, on the CPU) as the bytes of an ONNX file, with the first axis free.

    torch's legacy exporter comes first: it takes 0.3 s where its successor takes 5 s. The successor is used where the
    legacy one no longer exists or cannot express the network.
    """
    try:
        with silenced():
            return _traced(module, example)
    except (RuntimeError, TypeError, ValueError, ImportError, AttributeError):  # includes torch.onnx's own
        with silenced():
            return _exported(module, example)


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
def silenced() -> Iterator[None]:
    """Silence the exporters: they warn about themselves, print progress, and dump whole graphs from C++.

    Standard output must stay clean, as it may carry JSON: hence the file descriptors, not only Python's streams.
    """
    sys.stdout.flush()  # else text from before the block would be lost in it
    sys.stderr.flush()
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("ignore")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, nowhere)
        for stream in (1, 2):
            saved = os.dup(stream)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, stream)
            os.dup2(nowhere, stream)
        for redirect in (contextlib.redirect_stdout, contextlib.redirect_stderr):
            stack.enter_context(redirect(io.StringIO()))
        yield


def _difference(model: nn.Module, data: bytes, batch: Tensor) -> float:
    """Return the largest difference of the logits as a share of the largest logit; infinity for another shape."""
    with torch.inference_mode():
        expected = model(batch).numpy()
    logits = onnx_session(data)(batch.numpy())
    if logits.shape != expected.shape:
        return float("inf")
    return float(np.abs(logits - expected).max()) / max(_SMALLEST, float(np.abs(expected).max()))


def _rounds_alike(model: nn.Module, data: bytes, batch: Tensor) -> bool:
    """Return True if the ONNX file is about as near to the network in float64 as the network in float32 is."""
    # Copied first: what the network computes may change with its calls.
    exact = copy.deepcopy(model).double()
    with torch.inference_mode():
        try:
            reference = exact(batch.double()).numpy()
        except RuntimeError:  # a network may create float32 tensors of its own
            return False
        error = np.abs(model(batch).numpy() - reference).max()
    logits = onnx_session(data)(batch.numpy())
    return logits.shape == reference.shape and bool(np.abs(logits - reference).max() <= _ROUNDING * error)


def onnx_session(data: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Return the ONNX file in `data` as a function of a batch, run by onnxruntime on one thread."""
    onnxruntime = import_onnxruntime()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: np.asarray(session.run(None, {name: batch})[0])
