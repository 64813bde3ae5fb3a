"""export: a bundle as one archive or one file of it; or its network in another form, which passes a gate first."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clearsight.core.bundle import Bundle, open_bundle
from clearsight.core.errors import BadBundle, BadChoice, BadValue, NotFound
from clearsight.core.folder_lock import folder_lock
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, quiet

if TYPE_CHECKING:  # it loads readers and runtimes
    from clearsight.workflow.deployment.build import Export

MAX_ACCURACY_LOSS = 0.005  # share of the images

# Format -> the ends of a file's name that mean it; the first is that of the default name, model.tar.gz.
FORMATS = {"bundle": (".tar.gz", ".tgz"), "onnx": (".onnx",), "safetensors": (".safetensors",)}
# Formats of other tools, and how to come to them.
_OTHERS = {
    "openvino": "OpenVINO reads the ONNX model: --format onnx. clearsight serve --runtime openvino serves it, "
    "and clearsight export MODEL --to openvino puts OpenVINO's own files into the bundle.",
    "tensorrt": "TensorRT reads the ONNX model: --format onnx.",
    "engine": "TensorRT reads the ONNX model: --format onnx.",
    "coreml": "Converters to Core ML take the network in torch: clearsight.load(MODEL).model.",
    "torchscript": "The network in torch is clearsight.load(MODEL).model; --format safetensors has its weights.",
    "pytorch": "The network in torch is clearsight.load(MODEL).model; --format safetensors has its weights.",
    "pt": "The network in torch is clearsight.load(MODEL).model; --format safetensors has its weights.",
    "tflite": "Converters to TensorFlow Lite take the ONNX model: --format onnx.",
    "saved_model": "Converters to TensorFlow take the ONNX model: --format onnx.",
}


def check_flags(to: str, with_to: Mapping[str, object], without_to: Mapping[str, object]) -> None:
    """Raise BadValue for flags that are of no use beside the others. Empty values were not given.

    with_to: those that --to alone has.  without_to: those of the other kind of export.
    """
    useless, reason, fix = (
        (without_to, f"--to {to} writes into the bundle", "Leave one of them out.")
        if to
        else (with_to, "it is for --to", "Add --to onnx, --to openvino or --to torch-export.")
    )
    if wrong := next((flag for flag, value in useless.items() if value), None):
        raise BadValue(wrong, reason, fix=fix)


def export_to(
    model: str | Path,
    to: str,
    *,
    quantize: str = "",
    fp16: bool = False,
    embed_preprocessing: bool = False,
    gate_data: str | Path | None = None,
    max_accuracy_loss: float = MAX_ACCURACY_LOSS,
    paths: Paths | None = None,
    progress: Progress = quiet,
) -> Export:
    """Put the network of the run or bundle `model` into its bundle in another form, once it has passed the gate.

    to: "onnx", "openvino" or "torch-export"; the number of images in a batch is free.  quantize: "int8" or "".
    embed_preprocessing: the ONNX graph takes pixels (N, S, S, 3) uint8 and prepares them itself.
    gate_data: labelled images to compare on; by default the validation images of the training.
    max_accuracy_loss: share of those images that the form may classify wrongly beyond torch.
    Raises BadBundle with the figures for a form that does not pass; the bundle is then as before.
    """
    from clearsight.workflow.deployment import build
    from clearsight.workflow.deployment.images import check_calibration, images_at, images_of_training

    form = build.form_of(to, quantize, fp16, embed_preprocessing)
    build.check_packages(form)
    if not 0 <= max_accuracy_loss <= 1:
        raise BadValue(f"--max-accuracy-loss {max_accuracy_loss:g}", "must be a share of the images, from 0 to 1")
    if Path(model).is_file():
        problem = "a packed bundle cannot get another file"
        raise BadBundle(str(model), problem, fix="Unpack it into a folder and export that, then pack it again.")
    paths = paths or Paths.of({})
    with open_bundle(Path(model)) as bundle, folder_lock(bundle.path / ".lock", "bundle", BadBundle):
        if not bundle.weights.is_file():
            raise NotFound(str(bundle.weights), "the bundle has no such file", fix="Train the model again.")
        if gate_data is not None:
            images = images_at(Path(gate_data), bundle, paths, progress)
        else:
            images = images_of_training(bundle, "--gate-data", paths, progress)
        if form.precision == "int8":
            check_calibration(images)  # before the work
        return build.export_form(bundle, form, images, max_accuracy_loss, progress)


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
