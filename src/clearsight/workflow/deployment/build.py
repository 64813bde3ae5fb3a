"""Exported models: written beside the bundle, compared with torch, and moved into it only if they pass."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadBundle, BadChoice, BadValue
from clearsight.core.exports import ExportedModel, GateFigures, ModelForm
from clearsight.core.format import several
from clearsight.core.machine import versions
from clearsight.data.geometry import normalise, scale_shift
from clearsight.workflow.deployment.gate import failure, run_gate
from clearsight.workflow.deployment.images import LabelledImages, check_calibration, spread
from clearsight.workflow.deployment.options import option_of
from clearsight.workflow.predictors import open_option, open_predictor
from clearsight.workflow.prepare.datasets import Progress

TARGETS = ("onnx", "openvino", "torch-export")
_PACKAGES = {
    "onnx": ("clearsight", "torch", "onnx", "onnxruntime"),
    "openvino": ("clearsight", "torch", "onnx", "openvino", "nncf"),
    "torch-export": ("clearsight", "torch"),
}
_CALIBRATION = 200  # training images that int8 is calibrated on
_CALIBRATION_BATCH = 10  # images whose smallest and largest activation count once


@dataclass(frozen=True, kw_only=True)
class Export:
    """An exported model in a bundle, with the gate that it has passed. path: its first file.  size: bytes of all."""

    name: str
    path: Path
    size: int
    gate: GateFigures

    def lines(self) -> list[str]:
        """Return what was exported, for people."""
        figures = self.gate
        lost = f"{figures.accuracy_loss:+.4f} lost" if figures.accuracy_loss else "none lost"
        return [
            f"{self.path}  ({self.size / 2**20:.1f} MiB)",
            f"gate     passed on {figures.images:,} images ({figures.source}) in batches of "
            f"{', '.join(map(str, figures.batch_sizes))}",
            f"         same class on {100 * figures.agreement:.2f} %, probabilities within "
            f"{figures.probability_difference:.2g}",
            f"         accuracy {figures.accuracy:.4f}, torch {figures.torch_accuracy:.4f} ({lost}, "
            f"limit {figures.max_accuracy_loss:g})",
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `clearsight export MODEL --to TARGET --json`."""
        return {
            "name": self.name,
            "path": str(self.path),
            "size": self.size,
            "gate": {**self.gate.model_dump(mode="json"), "accuracy_loss": self.gate.accuracy_loss},
        }

    def __repr__(self) -> str:
        return "\n".join(self.lines())


def form_of(to: str, quantize: str, fp16: bool, embed_preprocessing: bool) -> ModelForm:
    """Return the form that flags describe; raises BadChoice and BadValue for those that do not go together."""
    if to not in TARGETS:
        raise BadChoice(f"--to {to}", "no such target", got=to, allowed=TARGETS)
    if quantize not in ("", "int8"):
        raise BadChoice(f"--quantize {quantize}", "no such precision", got=quantize, allowed=["int8"])
    if quantize and fp16:
        raise BadValue("--fp16", "it cannot be used with --quantize", fix="Keep one of them.")
    if to == "torch-export" and (quantize or fp16):
        flag = "--fp16" if fp16 else "--quantize int8"
        raise BadValue(
            flag, "torch computes in float32 on a CPU", fix=f"Use --to onnx or --to openvino, or leave {flag} out."
        )
    if embed_preprocessing and to != "onnx":
        raise BadValue("--embed-preprocessing", "it is for ONNX alone", fix="Use --to onnx.")
    return ModelForm.model_validate(
        {
            "target": to,
            "precision": quantize or ("fp16" if fp16 else "fp32"),
            "input": "pixels" if embed_preprocessing else "prepared",
        }
    )


def check_packages(form: ModelForm) -> None:
    """Raise MissingExtra for a form that needs a package which is not installed."""
    if form.target == "openvino":
        from clearsight.models.onnx_forms import check_nncf, load_openvino

        load_openvino()
        if form.precision == "int8":
            check_nncf()


def export_form(
    bundle: Bundle, form: ModelForm, images: LabelledImages, max_accuracy_loss: float, progress: Progress
) -> Export:
    """Write the network of `bundle` in another form, compare it with torch on `images`, and move it into the bundle.

    Raises BadBundle with the figures for a model beyond the limits; the bundle is then as before.
    """
    with tempfile.TemporaryDirectory(prefix="clearsight-export-") as temporary:
        folder = Path(temporary)
        count = _write(bundle, form, folder, images, progress)
        exported = open_option(bundle, option_of(form), folder=folder)
        reference = open_predictor(bundle, runtime="torch")
        figures = run_gate(exported, reference, images, max_accuracy_loss, progress)
        if problem := failure(figures, form.precision):
            raise BadBundle(
                f"export of {form.name}",
                f"{problem} ({figures})",
                fix=_advice(form, figures),
            )
        record = ExportedModel(
            **form.model_dump(),
            gate=figures,
            calibration_images=count,
            versions=versions(_PACKAGES[form.target]),
        )
        sealed = bundle.publish(record, folder)
    files = [sealed.path / name for name in form.files]
    return Export(name=form.name, path=files[0], size=sum(path.stat().st_size for path in files), gate=figures)


def _advice(form: ModelForm, figures: GateFigures) -> str:
    if form.precision == "fp32":
        return "The bundle is as before."
    lost = round(figures.accuracy_loss * figures.images)
    return f"It lost {several(lost, 'image')} of {figures.images:,}; the bundle is as before."


def _write(bundle: Bundle, form: ModelForm, folder: Path, images: LabelledImages, progress: Progress) -> int:
    """Write the files of a form into `folder`; return the number of images that it was calibrated on."""
    # Here and not above: an endpoint imports neighbours of this module and never loads torch.
    from clearsight.models import onnx_forms
    from clearsight.models.bundle import load
    from clearsight.models.export import onnx_graph, write_program

    path, size = folder / form.files[0], bundle.preprocess.size
    network = load(bundle)
    progress("exporting", 0, 1)
    if form.target == "torch-export":
        write_program(network, path, size)
        progress("exporting", 1, 1)
        return 0
    data = onnx_graph(network, size)
    progress("exporting", 1, 1)
    batches = _calibration(bundle, images, progress) if form.precision == "int8" else []
    if form.target == "openvino":
        if form.precision == "int8":
            onnx_forms.write_quantised_openvino(data, batches, path)
        else:
            onnx_forms.write_openvino(data, path, half=form.precision == "fp16")
        return sum(map(len, batches))
    if form.precision != "fp32":
        data = onnx_forms.half(data) if form.precision == "fp16" else onnx_forms.quantised(data, batches)
    if form.input == "pixels":
        data = onnx_forms.with_pixels(data, *scale_shift(bundle.preprocess))
    path.write_bytes(data)
    return sum(map(len, batches))


def _calibration(bundle: Bundle, images: LabelledImages, progress: Progress) -> Sequence[npt.NDArray[np.float32]]:
    """Return training images as batches (N, 3, S, S) float32, each with images of several classes."""
    check_calibration(images)
    chosen = spread(images.training, _CALIBRATION)
    loaded, count = [], 0
    for pixels, _ in images.batches(chosen, bundle.preprocess, _CALIBRATION_BATCH):
        loaded.append(pixels)
        count += len(pixels)
        progress("reading training images", count, len(chosen))
    everything = np.concatenate(loaded)
    step = -(-len(everything) // _CALIBRATION_BATCH)
    # Every step-th image, as a dataset is sorted by class: a batch of one class has a narrow range.
    return [normalise(everything[start::step], bundle.preprocess) for start in range(step)]
