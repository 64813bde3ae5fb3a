"""benchmark: speed, memory and accuracy of every runtime of a bundle on this machine, and the choice among them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.bundle import Bundle, open_bundle
from clearsight.core.errors import BadBundle, BadValue, ClearsightError
from clearsight.core.files import read_json, write_text
from clearsight.core.machine import cores, machine_name
from clearsight.workflow.deployment.benchmark_worker import WorkerRequest
from clearsight.workflow.deployment.gate import Gate, TorchComparison, failure
from clearsight.workflow.deployment.images import LabelledImages, images_at, images_of_training, spread
from clearsight.workflow.deployment.options import RuntimeOption, runtime_options, write_choice
from clearsight.workflow.display.text import table
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import Progress, quiet
from clearsight.workflow.results.html import facts_html, table_html

_MOST_IMAGES = 500  # for the accuracy; every runtime classifies them all
_NOISE_IMAGES = 32  # where there are no images
_LONGEST_START = 600.0  # seconds until a process counts as stuck
_HEAD = ("runtime", "precision", "p50 ms", "p99 ms", "images/s", "batch", "memory MiB", "accuracy", "start s", "gate")


@dataclass(frozen=True, kw_only=True)
class MeasuredRuntime:
    """A runtime of a bundle, measured in a process of its own. Figures are None where it failed; `note` says why.

    p50, p99: milliseconds of one image, from pixels of the network's size to probabilities.  images_per_second: in
    batches of `batch`, the best.  memory: bytes that the process has grown by while it classified single images.
    start_up: seconds from the start of the process to its first probabilities.  gate: "reference", "passed" when it
    was exported, "passed here" or "failed here" by this measurement, "not compared".
    """

    name: str
    precision: str
    gate: str
    p50: float | None = None
    p99: float | None = None
    calls: int = 0
    images_per_second: float | None = None
    batch: int | None = None
    memory: int | None = None
    accuracy: float | None = None
    start_up: float | None = None
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        if self.p50 is None or self.memory is None:
            return (self.name, self.precision, *[""] * (len(_HEAD) - 3), "failed")
        accuracy = "" if self.accuracy is None else f"{self.accuracy:.4f}"
        return (
            *(self.name, self.precision, f"{self.p50:.2f}", f"{self.p99:.2f}", f"{self.images_per_second:,.0f}"),
            *(str(self.batch), f"{self.memory / 2**20:.0f}", accuracy, f"{self.start_up:.1f}", self.gate),
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class Benchmark:
    """Runtimes of a bundle on one machine, and the one that `clearsight serve --runtime auto` uses there.

    chosen: its name, "" for none.  recorded: the file that says so, "" where it could not be written.
    images: labelled images that the accuracy is of.  notes: sentences for people.
    """

    model: str
    machine: str
    rows: tuple[MeasuredRuntime, ...]
    chosen: str
    recorded: str
    images: int
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the table for people."""
        about = f"accuracy on {self.images:,} images" if self.images else "no accuracy"
        failed = [f"note     {row.name}: {row.note}" for row in self.rows if row.note]
        chosen = (
            f"chosen   {self.chosen}: the fastest single image of those that passed the gate" if self.chosen else ""
        )
        record = f"recorded {self.recorded}; clearsight serve uses it on this machine" if self.recorded else ""
        return [
            f"machine  {self.machine}; {about}",
            "",
            *table(_HEAD, [row.cells() for row in self.rows], right=range(2, len(_HEAD) - 1)),
            "",
            *failed,
            *(f"note     {note}" for note in self.notes),
            *filter(None, (chosen, record)),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `clearsight benchmark --json`."""
        return {
            "model": self.model,
            "machine": self.machine,
            "images": self.images,
            "runtimes": [asdict(row) for row in self.rows],
            "chosen": self.chosen or None,
            "recorded": self.recorded or None,
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        facts = [("machine", self.machine), ("chosen", self.chosen), ("notes", " ".join(self.notes))]
        rows = table_html(_HEAD, [row.cells() for row in self.rows], right=range(2, len(_HEAD) - 1))
        return facts_html(f"Runtimes of {self.model}", facts, rows)


def benchmark(
    model: str | Path,
    *,
    images: str | Path | None = None,
    seconds: float = 4.0,
    trust: bool = False,
    paths: Paths | None = None,
    progress: Progress = quiet,
) -> Benchmark:
    """Measure every runtime of the run or bundle `model` on this machine, and record the fastest in its folder.

    images: labelled images for the accuracy; by default the validation images of the training, if they are there.
    seconds: of measurement for each runtime.  trust: also run the program of torch.export, which is code.
    Raises BadBundle where no runtime works.
    """
    if not 0 < seconds <= 3600:
        raise BadValue(f"--seconds {seconds:g}", "must be above 0 and at most 3600")
    paths = paths or Paths.of({})
    with open_bundle(Path(model)) as bundle, tempfile.TemporaryDirectory(prefix="clearsight-benchmark-") as temporary:
        options = [option for option in runtime_options(bundle) if trust or option.engine != "torch-export"]
        labelled, notes = _labelled(bundle, images, paths, progress)
        pixels, labels = _load(bundle, labelled, progress)
        work = _Work(bundle=bundle, folder=Path(temporary), seconds=seconds)
        np.save(work.pixels, pixels)
        measured, rows = [], {}
        for done, option in enumerate(options):
            progress("measuring runtimes", done, len(options))
            row, probabilities = work.measure(option)
            measured.append(row)
            if probabilities is not None:
                rows[option.name] = probabilities
        progress("measuring runtimes", len(options), len(options))
        compared = [_compared(row, rows, labels) for row in measured]
        if all(row.p50 is None for row in compared):
            raise BadBundle(
                str(model), f"no runtime can run it ({compared[0].note})" if compared else "it has no runtime"
            )
        chosen = _fastest(compared, options)
        if len(options) < len(runtime_options(bundle)):
            notes.append("torch-export is code and was left out; --trust measures it too.")
        recorded = _record(Path(model), bundle, chosen, compared, notes)
    return Benchmark(
        model=str(model),
        machine=machine_name(),
        rows=tuple(compared),
        chosen=chosen.name if chosen else "",
        recorded=recorded,
        images=len(labels),
        notes=tuple(notes),
    )


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Measurements of one bundle. folder: for the files that go to and come from the processes."""

    bundle: Bundle
    folder: Path
    seconds: float

    @property
    def pixels(self) -> Path:
        return self.folder / "pixels.npy"

    def measure(self, option: RuntimeOption) -> tuple[MeasuredRuntime, npt.NDArray[np.float64] | None]:
        """Return the figures of a runtime, and its probabilities (N, C) of the images; None where it failed."""
        rows, result, request_file = (self.folder / f"{option.name}.{end}" for end in ("npy", "json", "request"))
        request = WorkerRequest(
            bundle=self.bundle.path.resolve(),
            option=option.name,
            seconds=self.seconds,
            threads=cores(),
            pixels=self.pixels,
            rows=rows,
            result=result,
        )
        write_text(request_file, request.model_dump_json())
        # -P: no module of the folder in which the command starts.
        command = [sys.executable, "-P", "-m", "clearsight.workflow.deployment.benchmark_worker", str(request_file)]
        started, problem = time.time(), ""
        try:
            limit = _LONGEST_START + 4 * self.seconds
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit)
            if done.returncode:
                problem = _last_line(done.stderr) or f"its process ended with code {done.returncode}"
        except subprocess.TimeoutExpired:
            problem = f"it took more than {limit:g} s"
        gate = "reference" if option.engine == "torch" else "passed" if option.gate else "not compared"
        if problem:
            return MeasuredRuntime(name=option.name, precision=option.precision, gate=gate, note=problem), None
        found = read_json(result)
        batch, speed = max(found["images_per_second"].items(), key=lambda item: item[1])
        row = MeasuredRuntime(
            name=option.name,
            precision=option.precision,
            gate=gate,
            p50=1000 * found["p50"],
            p99=1000 * found["p99"],
            calls=found["calls"],
            images_per_second=speed,
            batch=int(batch),
            memory=found["memory"],
            start_up=found["first_answer"] - started,
        )
        return row, np.load(rows)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else ""


def _labelled(
    bundle: Bundle, images: str | Path | None, paths: Paths, progress: Progress
) -> tuple[LabelledImages | None, list[str]]:
    """Return labelled images, or None and the reason as a note."""
    if images is not None:
        return images_at(Path(images), bundle, paths, progress), []
    try:
        return images_of_training(bundle, "--images", paths, progress), []
    except ClearsightError as error:
        return None, [f"{error} Speeds are those of noise."]


def _load(
    bundle: Bundle, images: LabelledImages | None, progress: Progress
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return pixels (N, S, S, 3) and labels (N,); noise without labels where there are no images."""
    size = bundle.preprocess.size
    if images is None:
        noise = np.random.default_rng(0).integers(0, 256, (_NOISE_IMAGES, size, size, 3), dtype=np.uint8)
        return noise, np.zeros(0, np.int64)
    chosen, parts, count = spread(images.compared, _MOST_IMAGES), [], 0
    for batch in images.batches(chosen, bundle.preprocess, 32):
        parts.append(batch)
        count += len(batch[1])
        progress("reading images", count, len(chosen))
    return np.concatenate([pixels for pixels, _ in parts]), np.concatenate([labels for _, labels in parts])


def _compared(
    row: MeasuredRuntime, rows: dict[str, npt.NDArray[np.float64]], labels: npt.NDArray[np.int64]
) -> MeasuredRuntime:
    """Return the row with its accuracy; one without a gate of its own is compared with torch by the limits of fp32."""
    if row.name not in rows or not len(labels):
        return row
    found = rows[row.name]
    # As in the comparison: a row that is not finite is an error.
    correct = np.isfinite(found).all(axis=1) & (np.nan_to_num(found).argmax(axis=1) == labels)
    values = {**asdict(row), "accuracy": float(correct.mean())}
    if row.gate == "not compared" and "torch" in rows and np.isfinite(rows["torch"]).all():
        comparison = TorchComparison()
        comparison.add(found, rows["torch"], labels)
        figures = Gate(max_accuracy_loss=0.0, source="", comparisons={1: comparison}).figures()
        values["gate"] = "failed here" if failure(figures, "fp32") else "passed here"
    return MeasuredRuntime(**values)


def _fastest(rows: Sequence[MeasuredRuntime], options: Sequence[RuntimeOption]) -> RuntimeOption | None:
    """Return the runtime with the smallest p50 of those that passed; never torch-export, whose file is code."""
    passed = [
        (row.p50, option)
        for row, option in zip(rows, options, strict=True)
        if row.p50 is not None
        and row.gate in ("reference", "passed", "passed here")
        and option.engine != "torch-export"
    ]
    return min(passed, key=lambda pair: pair[0])[1] if passed else None


def _record(
    model: Path, bundle: Bundle, chosen: RuntimeOption | None, rows: Sequence[MeasuredRuntime], notes: list[str]
) -> str:
    """Record the choice in the bundle's folder; return the file, "" where it cannot be written, which `notes` gets."""
    p50 = next((row.p50 for row in rows if chosen and row.name == chosen.name), None)
    if chosen is None or p50 is None:
        return ""
    if model.is_file():
        notes.append("The choice is not recorded: a packed bundle has no folder. Unpack it to keep the choice.")
        return ""
    try:
        return str(write_choice(bundle, chosen, p50))
    except OSError as error:
        notes.append(f"The choice is not recorded: {bundle.path} cannot be written to ({error.strerror}).")
        return ""
