"""predict, serve, export, benchmark, load and models, from Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from clearsight.api.settings import DataSettings
from clearsight.api.signature import named_settings, path_of, with_settings
from clearsight.core.recipe import DataSection

if TYPE_CHECKING:
    from clearsight.models.network import Network
    from clearsight.workflow.deployment.benchmark import Benchmark
    from clearsight.workflow.deployment.build import Export
    from clearsight.workflow.display.notebook import Show
    from clearsight.workflow.results.predictions import Predictions
    from clearsight.workflow.transform.transform import TransformResult

MAX_PIXELS: int = DataSection.model_fields["max_pixels"].default


@with_settings(DataSettings)
def predict(
    model: str | Path | Any,
    images: Any,
    *,
    top: int = 5,
    split: str | None = None,
    embeddings: bool = False,
    device: str = "cpu",
    csv: str | Path | None = None,
    out: str | Path | None = None,
    progress: Show | Callable[[str, int, int], None] = "auto",
    **settings: Unpack[DataSettings],
) -> Predictions:
    """Classify images with a run or bundle, or with the deployed model of "endpoint:NAME".

    images: files, folders, glob patterns, encoded bytes, arrays (H, W, 3) uint8 or (N, H, W, 3), PIL images, torch
    tensors (3, H, W), a list of any of them, or a dataset (HDF5, a table, an archive, or with `split` a folder).
    top: classes listed per image.  split: of a dataset, "predict" for images without labels; by default all.
    embeddings: also compute the features before the head.  csv: table to write.  out: folder for predictions.csv,
    predictions.json and embeddings.npz.  progress: as in `data`, or a function of (activity, done, total).
    settings: of how a dataset is read. An image that cannot be read is listed with the reason.
    """
    from clearsight.workflow.display.notebook import output_of, show_result
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.predict import predict as classify
    from clearsight.workflow.results.predictions import prediction_lines

    output, values = output_of(False if callable(progress) else progress), named_settings(settings)
    with output.working():
        found = classify(
            path_of(model, "runs"),
            images,
            top=top,
            split=split,
            embeddings=embeddings,
            device=device,
            progress=progress if callable(progress) else output.progress,
            paths=Paths.of(os.environ),
            **values,
        )
    if csv is not None:
        found.write_csv(Path(csv))
    if out is not None:
        found.write(Path(out))
    show_result(output, progress, prediction_lines(found))
    return found


def transform(
    model: str | Path | Any,
    input: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    batch_size: int = 32,
    workers: int | None = None,
    on_error: Literal["skip", "stop"] = "skip",
    restart: bool = False,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    progress: Show | Callable[[str, int, int], None] = "auto",
) -> TransformResult:
    """Classify any number of images with a run, a bundle or "endpoint:NAME", into a file or a folder.

    input: a folder, a glob, a zip or tar, an HDF5 file of images, a CSV of paths, a .jsonl with a path or base64 per
    line, or a list of paths.  output: a .jsonl, .csv or .parquet file with a row per image in the order of the input,
    or a folder, which gets the JSON of an endpoint's response per image.  workers: threads that decode, or requests at
    a time.  on_error: "skip" records an image that cannot be read, "stop" raises BadData.  progress: as in `predict`.
    An output of the same model and input is continued, whatever ended the call before; restart: write it again.
    """
    from clearsight.workflow.display.notebook import output_of, show_result
    from clearsight.workflow.paths import Paths
    from clearsight.workflow.transform.transform import TransformOptions
    from clearsight.workflow.transform.transform import transform as classify

    options = TransformOptions(
        batch_size=batch_size,
        workers=workers,
        on_error=on_error,
        restart=restart,
        device=device,
        max_pixels=max_pixels,
    )
    shown = output_of(False if callable(progress) else progress)
    shown.unit = "images"
    with shown.working():
        result = classify(
            path_of(model, "runs"),
            input,
            output,
            options,
            progress=progress if callable(progress) else shown.progress,
            paths=Paths.of(os.environ),
        )
    show_result(shown, progress, result.lines())
    return result


class RunningEndpoint:
    """A model behind an HTTP endpoint, served from a thread of this process. url: where it listens."""

    def __init__(self, model: Path, **options: Any) -> None:
        from clearsight.workflow.serve import ServeOptions, serving

        self._serving = serving(model, ServeOptions(**options))
        self.url: str = self._serving.__enter__()
        self._is_open = True

    def stop(self) -> None:
        """Stop listening once the requests in progress are answered; does nothing the second time."""
        if self._is_open:
            self._is_open = False
            self._serving.__exit__(None, None, None)

    def wait(self) -> None:
        """Serve until Ctrl-C or an interrupt of the cell, then stop. For scripts, which end at their last line."""
        import threading

        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            self.stop()

    def __enter__(self) -> RunningEndpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<RunningEndpoint {self.url}{'' if self._is_open else ', stopped'}>"


def serve(
    model: str | Path | Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    runtime: str = "auto",
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> RunningEndpoint:
    """Serve a run or bundle over HTTP from the background; return the endpoint: its `url`, `stop()` and `wait()`.

    port: 0 uses a free one.  runtime: "auto" (the one that `benchmark` has chosen on this machine, else onnx), "onnx",
    "openvino", "torch", "torch-export", or an exported model such as "onnx-int8".
    Use it in a `with` block, or call `stop()`.  Raises BadValue for a port in use.
    """
    return RunningEndpoint(
        path_of(model, "runs"), host=host, port=port, runtime=runtime, threads=threads, max_pixels=max_pixels
    )


@overload
def export(
    model: str | Path | Any, out: str | Path | None = None, *, format: str = "", to: Literal[""] = ""
) -> Path: ...


@overload
def export(
    model: str | Path | Any,
    *,
    to: Literal["onnx", "openvino", "torch-export"],
    quantize: Literal["", "int8"] = "",
    fp16: bool = False,
    embed_preprocessing: bool = False,
    gate_data: str | Path | None = None,
    max_accuracy_loss: float = 0.005,
    progress: Show = "auto",
) -> Export: ...


def export(
    model: str | Path | Any,
    out: str | Path | None = None,
    *,
    format: str = "",
    to: str = "",
    quantize: str = "",
    fp16: bool = False,
    embed_preprocessing: bool = False,
    gate_data: str | Path | None = None,
    max_accuracy_loss: float | None = None,
    progress: Show = "auto",
) -> Path | Export:
    """Write a run or bundle as one file and return its path, or with `to` put another form of it into its bundle.

    format: "bundle" (weights, ONNX, classes and preprocessing in a .tar.gz), or "onnx" or "safetensors" for that file
    alone; "" follows from the name of `out`.  out: by default model.tar.gz, model.onnx or model.safetensors in the
    current folder.
    to: "onnx", "openvino" or "torch-export".  quantize: "int8".  fp16: weights in float16.  embed_preprocessing: the
    ONNX graph takes uint8 pixels.  gate_data: labelled images to compare with torch on; by default the validation
    images of the training.  max_accuracy_loss: 0.005 by default.  progress: as in `data`.
    Raises BadBundle with the figures for a form that does not pass; the bundle is then as before.
    """
    from clearsight.workflow.export import MAX_ACCURACY_LOSS, check_flags, export_to
    from clearsight.workflow.export import export as pack

    with_to = {
        "quantize": quantize,
        "fp16": fp16,
        "embed_preprocessing": embed_preprocessing,
        "gate_data": gate_data,
        "max_accuracy_loss": max_accuracy_loss is not None,
    }
    check_flags(to, with_to, {"out": out, "format": format})
    if not to:
        return pack(path_of(model, "runs"), out, format=format)
    from clearsight.workflow.display.notebook import output_of, show_result
    from clearsight.workflow.paths import Paths

    output = output_of(progress)
    with output.working():
        exported = export_to(
            path_of(model, "runs"),
            to,
            quantize=quantize,
            fp16=fp16,
            embed_preprocessing=embed_preprocessing,
            gate_data=gate_data,
            max_accuracy_loss=MAX_ACCURACY_LOSS if max_accuracy_loss is None else max_accuracy_loss,
            paths=Paths.of(os.environ),
            progress=output.progress,
        )
    show_result(output, progress, exported.lines())
    return exported


def benchmark(
    model: str | Path | Any,
    *,
    images: str | Path | None = None,
    seconds: float = 4.0,
    trust: bool = False,
    progress: Show = "auto",
) -> Benchmark:
    """Measure every runtime of a run or bundle on this machine, each in a process of its own; record the fastest.

    images: labelled images for the accuracy; by default the validation images of the training, if they are there.
    seconds: of measurement for each runtime.  trust: also run the program of torch-export, which is code.
    progress: as in `data`.  `serve` uses the runtime that is recorded.
    """
    from clearsight.workflow.deployment.benchmark import benchmark as measure
    from clearsight.workflow.display.notebook import output_of, show_result
    from clearsight.workflow.paths import Paths

    output, paths = output_of(progress), Paths.of(os.environ)
    with output.working():
        result = measure(
            path_of(model, "runs"),
            images=images,
            seconds=seconds,
            trust=trust,
            paths=paths,
            progress=output.progress,
        )
    show_result(output, progress, result.lines())
    return result


def load(model: str | Path | Any) -> Network:
    """Return the network of a run or bundle with its trained weights, in eval mode."""
    from clearsight.workflow.open import load as load_network

    return load_network(path_of(model, "runs"))


def models(
    pattern: str = "*",
    *,
    limit: int | None = 20,
    measure: bool = False,
    device: str = "cpu",
    progress: Show = "auto",
) -> Any:
    """List the models whose names match a pattern ("resnet*", "timm/vit_*"), with their size, input and weights here.

    limit: models that are looked at; None for all.  measure: time a few steps of each on this machine.  progress: as in
    `data`.  Raises BadChoice where no name matches.
    """
    from clearsight.workflow.display.notebook import output_of
    from clearsight.workflow.models import models as list_models
    from clearsight.workflow.paths import Paths

    output, paths = output_of(progress), Paths.of(os.environ)
    with output.working():
        return list_models(pattern, limit=limit, measure=measure, device=device, paths=paths, progress=output.progress)
