"""export: a bundle as one archive, to deploy elsewhere; or its ONNX model or its weights alone."""

from __future__ import annotations

import shutil
from pathlib import Path

from clearsight.core.bundle import Bundle, open_bundle
from clearsight.core.errors import BadChoice, BadValue, NotFound

# Format -> the ends of a file's name that mean it; the first is that of the default name, model.tar.gz.
FORMATS = {"bundle": (".tar.gz", ".tgz"), "onnx": (".onnx",), "safetensors": (".safetensors",)}
# Formats of other tools, and how to come to them.
_OTHERS = {
    "openvino": "OpenVINO reads the ONNX model: --format onnx. clearsight serve --runtime openvino serves it.",
    "tensorrt": "TensorRT reads the ONNX model: --format onnx.",
    "engine": "TensorRT reads the ONNX model: --format onnx.",
    "coreml": "Converters to Core ML take the network in torch: clearsight.load(MODEL).model.",
    "torchscript": "The network in torch is clearsight.load(MODEL).model; --format safetensors has its weights.",
    "pytorch": "The network in torch is clearsight.load(MODEL).model; --format safetensors has its weights.",
    "pt": "The network in torch is clearsight.load(MODEL).model; --format safetensors has its weights.",
    "tflite": "Converters to TensorFlow Lite take the ONNX model: --format onnx.",
    "saved_model": "Converters to TensorFlow take the ONNX model: --format onnx.",
}


def export(model: str | Path, out: str | Path | None = None, *, format: str = "") -> Path:
    """Write the run or bundle `model` as one file; return its path.

    format: "bundle" (.tar.gz, the model.tar.gz layout), "onnx" or "safetensors"; "" follows from the name of `out`.
    out: by default model.tar.gz, model.onnx or model.safetensors in the current folder.
    An ONNX file takes images (N, 3, S, S) that are prepared as bundle.json says, and returns logits.
    """
    if format not in ("", *FORMATS):
        fix = _OTHERS.get(format, "")
        raise BadChoice(f"--format {format}", "no such format", got=None if fix else format, allowed=FORMATS, fix=fix)
    named = format or "bundle"
    path = Path(out) if out is not None else Path(f"model{FORMATS[named][0]}")
    kind = next((kind for kind, ends in FORMATS.items() if path.name.endswith(ends)), None)
    if kind is None or (format and kind != format):
        ends = ", ".join(ends[0] for kind, ends in FORMATS.items() if format in ("", kind))
        raise BadValue(f"--out {out}", f"the name must end in {ends}", fix=f"Name it model{FORMATS[named][0]}.")
    with open_bundle(Path(model)) as bundle:
        return bundle.pack(path) if kind == "bundle" else _copy(bundle, kind, path)


def _copy(bundle: Bundle, kind: str, path: Path) -> Path:
    """Copy one file of a bundle."""
    source = bundle.onnx if kind == "onnx" else bundle.weights
    if not source.is_file() or (kind == "onnx" and not bundle.has_onnx):
        raise NotFound(str(source), "the bundle has no such file", fix="Train or export the model again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(source, path))
