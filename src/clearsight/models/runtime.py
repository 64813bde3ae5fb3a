"""PrefixRuntime: the frozen part of a network, in the fastest form that this machine can run.

Measured on 2 virtual cores (AVX-512), whole backbones on 16 images of 224 x 224, milliseconds an image with one
thread / two, best of 3 (torch 2.15, OpenVINO 2026.4); only the ratios carry over to other machines:

                          torch eval     torch-folded   openvino
    timm/mobilenetv2_100  23.7 / 10.2    6.4 / 4.2      2.9 / 1.6
    resnet50              55.0 / 59.3    36.7 / 34.6    30.9 / 16.9

Getting OpenVINO ready took 0.3 s and 1.5 s.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from clearsight.core.machine import import_openvino
from clearsight.models.export import detached, serialise

Array = npt.NDArray[np.float32]

_TOLERANCE = 1e-3  # of the largest output: kernels differ in the order of their sums

# Raised by tracing, exporting and compiling for networks that they cannot express.
_UNSUPPORTED = (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError, LookupError)


@dataclass(frozen=True)
class PrefixRuntime:
    """Function (N, 3, S, S) float32 -> (N, ...) float32, to be called from one thread at a time.

    name: "openvino", "torch-folded" or "torch".  note: why faster ones were not used, "" if there were none.
    """

    name: str
    run: Callable[[Array], Array]
    note: str = ""

    def __call__(self, images: Array) -> Array:
        return self.run(images)


def fastest_runtime(prefix: nn.Module, example: Array, threads: int) -> PrefixRuntime:
    """Return the fastest way to run `prefix` in eval mode on images like `example` (N, 3, S, S) float32, N at least 1.

    On a CUDA device that is torch itself; on the CPU it is OpenVINO in float32 where that is installed, else torch with
    folded BatchNorm and channels_last. A faster way is used only if it agrees with plain torch on `example` (largest
    difference 0.1 % of the largest output). `prefix` is copied; later changes to it have no effect.
    threads: of OpenVINO; torch keeps those of the process.
    """
    device = next((parameter.device for parameter in prefix.parameters()), torch.device("cpu"))
    if device.type != "cpu":
        return PrefixRuntime("torch", _torch(copy.deepcopy(prefix).eval()))
    twin = detached(prefix, example.shape[-1])
    expected = _torch(twin)(example)
    notes = []
    for name, make in (("openvino", _openvino), ("torch-folded", _folded)):
        if name == "openvino" and importlib.util.find_spec("openvino") is None:
            continue
        try:
            run = make(twin, example, threads)
            worst = _difference(run(example), expected)
        except _UNSUPPORTED as error:
            notes.append(f"{name} cannot run it ({_short(error)})")
            continue
        if worst <= _TOLERANCE:
            return PrefixRuntime(name, run, "; ".join(notes))
        notes.append(f"{name} disagrees by {worst:.2g} of the largest output")
    return PrefixRuntime("torch", _torch(twin), "; ".join(notes))


def _torch(module: nn.Module, layout: torch.memory_format = torch.contiguous_format) -> Callable[[Array], Array]:
    parameter = next(module.parameters(), torch.zeros(()))

    def run(images: Array) -> Array:
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(parameter.device, parameter.dtype).contiguous(memory_format=layout)
            return cast(Array, module(batch).float().cpu().contiguous().numpy())

    return run


def _folded(module: nn.Module, example: Array, threads: int) -> Callable[[Array], Array]:
    return _torch(fold(copy.deepcopy(module)).to(memory_format=torch.channels_last), torch.channels_last)


class _Tracer(fx.Tracer):
    """Tracer that takes norms with an activation inside (timm) as one node: they are folded as a whole."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.BatchNorm2d) or super().is_leaf_module(m, module_qualified_name)


def fold(module: nn.Module) -> nn.Module:
    """Return `module` (in eval mode) with each BatchNorm folded into the convolution that feeds only it.

    The argument is changed and must not be used any more. Raises what torch.fx raises for a forward that it cannot
    trace (control flow on values): TraceError, a ValueError, or a TypeError, RuntimeError or AttributeError.
    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks", section 3.2.
    """
    tracer = _Tracer()
    graph = tracer.trace(module)
    traced = fx.GraphModule(tracer.root, graph)
    parts = dict(traced.named_modules())
    for node in list(graph.nodes):
        norm, feeder = parts.get(str(node.target)), node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(norm, nn.BatchNorm2d):
            continue
        if not isinstance(feeder, fx.Node) or feeder.op != "call_module" or len(feeder.users) > 1:
            continue  # another user of the convolution would see the folded values
        convolution = parts.get(str(feeder.target))
        if isinstance(convolution, nn.Conv2d) and norm.track_running_stats:
            traced.set_submodule(str(feeder.target), fuse_conv_bn_eval(convolution, norm))
            # timm's BatchNormAct2d; a plain BatchNorm2d has neither.
            activation = [cast(Any, norm)._modules.get(name) for name in ("drop", "act")]
            traced.set_submodule(str(node.target), nn.Sequential(*(part for part in activation if part is not None)))
    traced.recompile()
    return traced


def _openvino(module: nn.Module, example: Array, threads: int) -> Callable[[Array], Array]:
    core = import_openvino().Core()
    # Through ONNX: openvino.convert_model is slower.
    model = core.read_model(serialise(module, torch.from_numpy(example[:1])))
    # One image per request: as fast as batches here, and no result depends on its neighbours in a batch.
    model.reshape({model.inputs[0]: [1, *example.shape[1:]]})
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = core.compile_model(model, "CPU", settings)
    shape = tuple(compiled.outputs[0].shape)[1:]
    # Requests by hand: openvino.AsyncInferQueue calls back into Python, and sometimes deadlocks when it is destroyed.
    width = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
    requests = [compiled.create_infer_request() for _ in range(width)]

    def run(images: Array) -> Array:
        output = np.empty((len(images), *shape), dtype=np.float32)
        for i in range(len(images) + width):
            request = requests[i % width]
            if 0 <= i - width < len(images):
                request.wait()
                output[i - width] = request.get_output_tensor(0).data[0]
            if i < len(images):
                request.start_async({0: images[i : i + 1]})
        return output

    return run


def _difference(output: Array, expected: Array) -> float:
    """Return the largest difference as a share of the largest value; infinity for other shapes or non-finite values."""
    if output.shape != expected.shape or not np.isfinite(output).all():
        return float("inf")
    scale = float(np.abs(expected).max()) or 1.0  # an output of zeros has no scale
    return float(np.abs(output - expected).max()) / scale


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
