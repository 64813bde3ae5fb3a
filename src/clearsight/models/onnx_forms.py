"""Forms of a network's ONNX graph: float16, int8, pixels as its input, and OpenVINO's own files. N images, S pixels."""

from __future__ import annotations

import contextlib
import importlib
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import missing_extra
from clearsight.core.machine import import_nncf, import_onnxruntime, import_openvino, installed
from clearsight.models.export import INPUT, silenced

Floats = npt.NDArray[np.float32]

PIXELS = "pixels"  # input of a graph that prepares its images


def half(data: bytes) -> bytes:
    """Return the ONNX graph with weights and sums in float16; input and output stay float32."""
    import onnx

    import_onnxruntime()  # without its reports
    convert = importlib.import_module("onnxruntime.transformers.float16").convert_float_to_float16
    return bytes(convert(onnx.load_from_string(data), keep_io_types=True).SerializeToString())


def quantised(data: bytes, batches: Sequence[Floats]) -> bytes:
    """Return the ONNX graph with weights and activations in 8 bits, calibrated on prepared images.

    batches: arrays (N, 3, S, S) float32. Each activation's range is the mean over the batches of its smallest and of
    its largest value. Weights have a scale for each channel; activations are unsigned, as VNNI instructions take them.
    The first convolution and the classifier stay in float32: they cost little time and lose the most.
    """
    import onnx

    import_onnxruntime()  # without its reports
    quantization = importlib.import_module("onnxruntime.quantization")
    shapes = importlib.import_module("onnxruntime.quantization.shape_inference")
    with tempfile.TemporaryDirectory() as folder, _without_advice():
        source, prepared, target = (Path(folder) / f"{name}.onnx" for name in ("source", "prepared", "target"))
        source.write_bytes(data)
        # Symbolic shapes are for transformers with free lengths; here the batch alone is free.
        shapes.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(target),
            _reader(quantization.CalibrationDataReader, batches),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            nodes_to_exclude=_ends(onnx.load(prepared)),
            extra_options={"CalibMovingAverage": True},
        )
        return target.read_bytes()


def _ends(model: Any) -> list[str]:
    """Return the names of the first convolution and of the last product of matrices."""
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    products = [node.name for node in model.graph.node if node.op_type in ("Gemm", "MatMul")]
    return [name for name in (*convolutions[:1], *products[-1:]) if name]


def _reader(base: type, batches: Sequence[Floats]) -> Any:
    """Return the batches as onnxruntime's calibration reads them: one after another, None at the end."""
    remaining = iter(batches)

    def get_next(self: Any) -> dict[str, Floats] | None:
        batch = next(remaining, None)
        return None if batch is None else {INPUT: batch}

    # The base class comes with a package that is imported when it is needed.
    return type("BatchReader", (base,), {"get_next": get_next})()


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Keep onnxruntime's advice on how to call it, which is for the author of this module, out of the user's log."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)  # it uses the root logger itself
    try:
        yield
    finally:
        root.setLevel(before)


def with_pixels(data: bytes, scale: Floats, shift: Floats) -> bytes:
    """Return the ONNX graph with preprocessing in front: its input "pixels" is (N, S, S, 3) uint8 RGB.

    scale, shift: (3,); a byte x becomes `x * scale + shift` in float32, and the channels come first.
    """
    import onnx

    model = onnx.load_from_string(data)
    helper, constant, kinds = onnx.helper, onnx.numpy_helper.from_array, onnx.TensorProto
    images = model.graph.input[0]
    size = images.type.tensor_type.shape.dim[2].dim_value
    nodes = [
        helper.make_node("Cast", [PIXELS], ["pixels_float"], to=kinds.FLOAT),
        helper.make_node("Transpose", ["pixels_float"], ["pixels_planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["pixels_planes", "pixels_scale"], ["pixels_scaled"]),
        helper.make_node("Add", ["pixels_scaled", "pixels_shift"], [images.name]),
    ]
    values = {"pixels_scale": scale, "pixels_shift": shift}
    model.graph.initializer.extend(
        constant(np.asarray(value, np.float32)[:, None, None], name) for name, value in values.items()
    )
    following = list(model.graph.node)
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend([*nodes, *following])
    model.graph.input.append(helper.make_tensor_value_info(PIXELS, kinds.UINT8, ["N", size, size, 3]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_openvino(data: bytes, path: Path, *, half: bool) -> None:
    """Write the ONNX graph as OpenVINO's files: `path` (.xml) and the weights beside it (.bin), in float16 if `half`.

    Raises MissingExtra without the package.
    """
    openvino = load_openvino()
    openvino.save_model(openvino.Core().read_model(data), str(path), compress_to_fp16=half)


def write_quantised_openvino(data: bytes, batches: Sequence[Floats], path: Path) -> None:
    """Write the ONNX graph in 8 bits as OpenVINO's files, calibrated on prepared images (N, 3, S, S) float32.

    Raises MissingExtra without openvino or nncf.
    """
    openvino = load_openvino()
    check_nncf()
    nncf = import_nncf()
    nncf.set_log_level(logging.ERROR)  # of its own logger
    model = openvino.Core().read_model(data)
    images: Iterable[Floats] = [image[None] for batch in batches for image in batch]
    with silenced():  # its bars go to stdout, which may carry JSON
        smaller = nncf.quantize(model, nncf.Dataset(images), subset_size=sum(map(len, batches)))
    openvino.save_model(smaller, str(path), compress_to_fp16=False)


def check_nncf() -> None:
    """Raise MissingExtra without the package that quantises for OpenVINO."""
    if installed("nncf") is None:  # not find_spec, which takes any folder of that name for a package
        raise missing_extra("nncf", "int8", "--to openvino --quantize int8")


def load_openvino() -> Any:
    """Return the module `openvino`; raises MissingExtra without the package."""
    try:
        return import_openvino()
    except ModuleNotFoundError:
        raise missing_extra("openvino", "openvino", "--to openvino") from None
