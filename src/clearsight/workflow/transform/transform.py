"""transform: classes of any number of images, into a file or a folder; a run that was killed goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

from clearsight.core.bundle import open_bundle
from clearsight.core.errors import BadChoice, BadData, BadValue
from clearsight.core.format import several, speed
from clearsight.data.decode import MAX_PIXELS
from clearsight.workflow.deployment.endpoint_client import EndpointClient, endpoint_name
from clearsight.workflow.paths import Paths
from clearsight.workflow.predictors import open_predictor
from clearsight.workflow.prepare.datasets import Progress, quiet
from clearsight.workflow.results.html import facts_html
from clearsight.workflow.transform.classifiers import (
    BundleClassifier,
    Classified,
    Classifier,
    EndpointClassifier,
    bundle_digest,
)
from clearsight.workflow.transform.outputs import Output, Sidecar, check_output, open_output, writing
from clearsight.workflow.transform.sources import InputSource, check_source, open_source

ON_ERROR = ("skip", "stop")
_ACTIVITY = "classifying"


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformOptions:
    """Options of a transform. workers: threads that decode, or requests at a time; None: a core each, or 4.

    on_error: "skip" records an image that cannot be read and goes on, "stop" ends there without recording it.
    restart: write an output again, whatever it is of.
    """

    batch_size: int = 32
    workers: int | None = None
    on_error: str = "skip"
    restart: bool = False
    device: str = "cpu"
    max_pixels: int = MAX_PIXELS

    def check(self) -> None:
        """Raise BadValue or BadChoice for the first wrong one."""
        if self.batch_size < 1:
            raise BadValue(f"--batch-size {self.batch_size}", "must be 1 or more")
        if self.workers is not None and self.workers < 1:
            raise BadValue(f"--workers {self.workers}", "must be 1 or more")
        if self.on_error not in ON_ERROR:
            raise BadChoice(f"--on-error {self.on_error}", "no such choice", got=self.on_error, allowed=ON_ERROR)


_DEFAULTS = TransformOptions()


@dataclass(frozen=True, kw_only=True)
class TransformResult:
    """Result of a transform. images: of the input, all of them written.  errors: those that could not be read.

    written: images that this call classified, in `seconds`; the others were written before.
    """

    output: str
    model: str
    images: int
    errors: int
    written: int
    seconds: float

    @property
    def images_per_second(self) -> float | None:
        """Speed of this call, opening the model left out; None where it had nothing left to do."""
        return self.written / self.seconds if self.written and self.seconds else None

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `clearsight transform --json`."""
        return {**asdict(self), "images_per_second": self.images_per_second}

    def lines(self) -> list[str]:
        """Return the result for people."""
        return [f"{name:<9}{value}" for name, value in self._facts() if value]

    def _facts(self) -> list[tuple[str, str]]:
        fast = f"{several(self.written, 'image')} in {self.seconds:.1f} s"
        rate = self.images_per_second
        earlier = self.images - self.written
        return [
            ("written", f"{self.output}  ({several(self.images, 'image')})"),
            ("speed", f"{speed(rate)}  ({fast})" if rate else ""),
            ("earlier", f"{several(earlier, 'image')} had been written before" if earlier else ""),
            (
                "errors",
                f"{several(self.errors, 'image')} could not be read; the output says why" * bool(self.errors),
            ),
        ]

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return facts_html("Transform", self._facts())


def transform(
    model: str | Path,
    source: str | Path | Sequence[str | Path],
    output: str | Path,
    options: TransformOptions = _DEFAULTS,
    *,
    progress: Progress = quiet,
    paths: Paths | None = None,
) -> TransformResult:
    """Classify the images of `source` with a run, a bundle or "endpoint:NAME", and write the outcomes to `output`.

    source: a folder, a glob, a zip or tar, an HDF5 file of images, a CSV of paths, JSON lines with a path or base64
    each, or a list of paths.  output: a .jsonl, .csv or .parquet file, or a folder that gets a .out file per image.
    An output of the same model and input is continued. Raises NotResumable for one of another, NotFound and EmptyInput
    without images, DiskFull; after any of them and after an interrupt the output can be continued.
    """
    options.check()
    target = Path(output).expanduser()
    check_output(target)
    check_source(source)
    if isinstance(source, str | Path) and target.resolve() == Path(source).expanduser().resolve() and target.is_file():
        raise BadValue(str(target), "it is the input", fix="Name another output.")
    with _opened(model, options, paths) as opened:
        return write_output(opened, open_source(source), target, options, progress)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedModel:
    """A model by its manifest. classifier: loads it, which takes seconds."""

    classes: tuple[str, ...]
    digest: str
    name: str
    classifier: Callable[[], Classifier]


@contextmanager
def _opened(model: str | Path, options: TransformOptions, paths: Paths | None) -> Iterator[OpenedModel]:
    if name := endpoint_name(model):
        from clearsight.workflow.deployment import deploy  # it loads the server, which other transforms do not need

        home = (paths or Paths.of({})).home
        folder = deploy.served_bundle(name, home=home)
        with closing(EndpointClient(name, *deploy.address(name, home=home))) as client:
            yield OpenedModel(
                classes=client.classes(),
                digest=bundle_digest(folder),
                name=str(model),
                classifier=lambda: EndpointClassifier(client, options.workers),
            )
        return
    with open_bundle(Path(model)) as bundle:

        def load() -> Classifier:
            predictor = open_predictor(bundle, device=options.device, max_pixels=options.max_pixels)
            return BundleClassifier(predictor, options.workers)

        yield OpenedModel(classes=bundle.classes, digest=bundle_digest(bundle.path), name=bundle.model, classifier=load)


def write_output(
    opened: OpenedModel, images: InputSource, target: Path, options: TransformOptions, progress: Progress
) -> TransformResult:
    """Write the outcomes that an output lacks; raises as `transform` does."""
    sidecar = Sidecar(
        model=opened.digest, model_name=opened.name, kind=images.kind, location=images.location, stamp=images.stamp
    )
    output = open_output(target, opened.classes, images.file_names)
    with writing(output, sidecar, restart=options.restart):
        written, seconds = _write_all(opened, images, output, options, progress)
        output.finish()
    return TransformResult(
        output=str(target),
        model=opened.name,
        images=output.done,
        errors=output.errors,
        written=written,
        seconds=seconds,
    )


def _write_all(
    opened: OpenedModel, images: InputSource, output: Output, options: TransformOptions, progress: Progress
) -> tuple[int, float]:
    """Classify and write what the output lacks; return the number of these images and the seconds."""
    remaining = output.remaining(images.images())
    first = next(remaining, None)
    progress(_ACTIVITY, output.done, images.count)
    if first is None:
        return 0, 0.0
    classifier = opened.classifier()
    written, start = 0, time.perf_counter()
    with closing(classifier.batches(chain([first], remaining), options.batch_size)) as batches:
        for batch in batches:
            good = batch if options.on_error == "skip" else list(takewhile(_is_readable, batch))
            output.write(good)
            written += len(good)
            if len(good) < len(batch):
                image, problem = batch[len(good)]
                fix = "Remove or replace it, then continue, or pass --on-error skip."
                raise BadData(image.name, str(problem), fix=fix)
            progress(_ACTIVITY, output.done, max(output.done, images.count))
    return written, time.perf_counter() - start


def _is_readable(classified: Classified) -> bool:
    return not isinstance(classified[1], str)
