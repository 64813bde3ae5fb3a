"""predict, serve, export, load and models, from Python."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from clearsight.api.settings import DataSettings
from clearsight.api.signature import named_settings, path_of, with_settings
from clearsight.core.recipe import DataSection

if TYPE_CHECKING:
    from clearsight.models.network import Network
    from clearsight.workflow.display.notebook import Show
    from clearsight.workflow.results.predictions import Predictions

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
    """Classify images with a run or bundle.

    images: files, folders, glob patterns, encoded bytes, arrays (H, W, 3) uint8 or (N, H, W, 3), PIL images, torch
    tensors (3, H, W), a list of any of them, or a dataset (HDF5, a table, an archive, or with `split` a folder).
    top: classes listed per image.  split: of a dataset, "predict" for images without labels; by default all.
    embeddings: also compute the features before the head.  csv: table to write.  out: folder for predictions.csv,
    predictions.json and embeddings.npz.  progress: as in `data`, or a function of (activity, done, total).
    settings: of how a dataset is read. An image that cannot be read is listed with the reason.
    """
    from clearsight.workflow.display.notebook import output_of, show_result
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
            **values,
        )
    if csv is not None:
        found.write_csv(Path(csv))
    if out is not None:
        found.write(Path(out))
    show_result(output, progress, prediction_lines(found))
    return found


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
    runtime: str = "onnxruntime",
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> RunningEndpoint:
    """Serve a run or bundle over HTTP from the background; return the endpoint: its `url`, `stop()` and `wait()`.

    port: 0 uses a free one.  Use it in a `with` block, or call `stop()`.  Raises BadValue for a port in use.
    """
    return RunningEndpoint(
        path_of(model, "runs"), host=host, port=port, runtime=runtime, threads=threads, max_pixels=max_pixels
    )


def export(model: str | Path | Any, out: str | Path | None = None, *, format: str = "") -> Path:
    """Write a run or bundle as one file: weights, ONNX, classes and preprocessing in a .tar.gz; return its path.

    format: "bundle", or "onnx" or "safetensors" for that file alone; "" follows from the name of `out`.
    out: by default model.tar.gz, model.onnx or model.safetensors in the current folder.
    """
    from clearsight.workflow.export import export as pack

    return pack(path_of(model, "runs"), out, format=format)


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
