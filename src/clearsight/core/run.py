"""Run: a training run, its state, the name of every file in its folder, and the log of its metrics."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import FiniteFloat

from clearsight.core.bundle import CalibrationFacts
from clearsight.core.errors import BadData, NotFound, NotResumable
from clearsight.core.events import EpochRecord, Mode, NullObserver, RunStatus, StepRecord, scalars_of
from clearsight.core.files import read_json, read_jsonl, write_json, write_text
from clearsight.core.machine import process_ended, process_identity
from clearsight.core.recipe import Recipe
from clearsight.core.records import damaged, has_shape, read_record
from clearsight.core.registry import Former
from clearsight.core.run_facts import DataFacts, FailedSteps, RefitFacts, ScoresFacts, WeightsFacts
from clearsight.core.secrets import redact_command
from clearsight.core.stop import StopKind, StopReason, stop_kind

Status = TypeVar("Status", bound=StrEnum)

KILLED = StopReason(StopKind.KILLED, "its process has ended without a word, by kill -9 or a power cut, for example")


_COUNTS = ("step", "epoch")  # whole numbers of each line in metrics.jsonl


class _At:
    """A path in a run folder, as an attribute of RunFolder."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: RunFolder, owner: type[RunFolder]) -> Path:
        return folder.path / self._name


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Name of every file and folder of a run; none of them need exist.

    A loop that clearsight did not run (a Hook, `clearsight profile -- COMMAND`) writes some of the same files.
    """

    path: Path

    state = _At("run.json")  # status, stop reason, seed, data, versions, scores
    images = _At("images.csv")  # digest, split and class of every image that it began with
    process = _At("process.json")  # host, PID and start of the process in which a Hook watches; others: in run.json
    recipe = _At("recipe.yaml")  # what was asked, defaults filled in
    log = _At("log.txt")  # the lines of the terminal, with the time
    findings = _At("findings.jsonl")  # every verdict of every rule, written when the run has ended
    live_findings = _At("findings.live.jsonl")  # what the rules found while the run went on, appended line by line
    tensors = _At("tensors")  # what the debugger saved
    profile = _At("profile")  # what the profiler measured
    hot_lines = _At("profile/hotlines.json")  # the lines of the user's code that loading waits for
    checkpoints = _At("checkpoints")  # the newest one, to resume from
    refit_checkpoints = _At("checkpoints/refit")  # of the second training that --refit asks for
    refit_metrics = _At("metrics.refit.jsonl")  # every scalar of its steps
    bundle = _At("model")  # the trained model
    evaluation = _At("evaluation")  # scores and predictions on the test split
    scores = _At("evaluation/metrics.json")
    predictions = _At("evaluation/predictions.csv")
    lock = _At("run.lock")  # there while a process writes to the folder
    actions = _At("actions.json")  # what was done about findings while the run went on
    auto_tune = _At("auto_tune.json")  # settings that were chosen by measuring before the run began
    repairs = _At("repairs.json")  # what --repair changed from attempt to attempt
    attempts = _At("attempts")  # the runs that --repair did not keep
    comparison = _At("attempts/comparison")  # a short training under way, by which --repair chooses
    report = _At("report.html")
    report_json = _At("report.json")  # the numbers of the report

    def metrics(self, rank: int = 0) -> Path:
        """Return the path of metrics.jsonl: every scalar of every step, of one process."""
        return self.path / (f"metrics.{rank}.jsonl" if rank else "metrics.jsonl")

    @property
    def is_run(self) -> bool:
        """Return True where a run of clearsight's own training is in the folder."""
        return self.state.is_file()


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Command, packages and machine that a run was made with.

    command: arguments of the process, without secrets.  versions: of Python and packages.  hardware: system, processor,
    device.
    """

    command: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Here, so that neither run.json nor a page has a secret, of a run of an earlier version either.
        object.__setattr__(self, "command", redact_command(self.command))


_PROVENANCE = tuple(part.name for part in fields(Provenance))  # in run.json they stand beside the fields of the run


@dataclass(kw_only=True, repr=False)
class Resumable(ABC, Generic[Status]):
    """State of a run or a study in its folder: run.json or study.json, replaced atomically at each change.

    recipe: what is trained, or varied.  reason: why it ended, one sentence.  stop_kind: the same for programs, None
    where it went to its end.  failed_steps: FailedStep.to_json of the steps after the training that failed.
    """

    noun: ClassVar[str]  # "run" or "study"

    path: Path
    name: str
    recipe: Recipe
    status: Status
    reason: str = ""
    stop_kind: StopKind | None = None
    failed_steps: FailedSteps = field(default_factory=list)

    def __repr__(self) -> str:
        # Not every field: a recipe alone fills a screen.
        return f"<{type(self).__name__} {self.path}: {self.status.value}>"

    @classmethod
    def exists(cls, path: Path) -> bool:
        """Return True if there is one in the folder `path`."""
        return (path / f"{cls.noun}.json").is_file()

    @classmethod
    def check_free(cls, path: Path) -> None:
        """Raise NotResumable if there is one in the folder `path` already."""
        if cls.exists(path):
            fix = f"Continue it with --resume {path}, or choose another --out."
            raise NotResumable(str(path), f"a {cls.noun} is there already", fix=fix)

    @classmethod
    def read_state(cls, path: Path) -> dict[str, Any]:
        """Return the values in the JSON file; raises NotFound without the file."""
        if not cls.exists(path):
            raise NotFound(str(path), f"there is no {cls.noun} in this folder (no {cls.noun}.json)")
        values = read_json(path / f"{cls.noun}.json")
        if not isinstance(values, dict):
            raise damaged(str(path / f"{cls.noun}.json"), "it must be a JSON object")
        if "status" not in values:  # a run without one would count as running
            raise damaged(str(path / f"{cls.noun}.json"), "status: field required")
        # Neither belongs into the file: they say where it is, and what else is in the folder.
        return {key: value for key, value in values.items() if key not in ("path", "recipe")}

    @abstractmethod
    def save(self) -> None:
        """Write the JSON file."""

    @property
    def stop(self) -> StopReason | None:
        """Return why it ended; None where it went to its end or goes on."""
        return StopReason(self.stop_kind, self.reason) if self.stop_kind is not None else None

    def end(self, status: Status, stop: StopReason | None = None) -> None:
        """Set status and reason, without writing them."""
        self.status = status
        self.reason, self.stop_kind = (stop.text, stop.kind) if stop is not None else ("", None)

    def finish(self, status: Status, stop: StopReason | None = None) -> None:
        """Set status and reason, and write them."""
        self.end(status, stop)
        self.save()


@dataclass(kw_only=True, repr=False)
class Run(Resumable[RunStatus]):
    """A training run. The files beside run.json are written once."""

    noun = "run"

    status: RunStatus = RunStatus.RUNNING
    seed: int = 0
    data: Annotated[dict[str, Any], has_shape(DataFacts)] = field(default_factory=dict)
    weights: Annotated[dict[str, Any], has_shape(WeightsFacts)] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)
    process: dict[str, Any] = field(default_factory=dict)  # process_identity of the process that trains
    started: FiniteFloat = field(default_factory=time.time)
    seconds: FiniteFloat = 0.0
    best_epoch: int | None = None
    scores: Annotated[dict[str, Any], has_shape(ScoresFacts)] = field(default_factory=dict)
    images_per_second: FiniteFloat | None = None
    refit: Annotated[dict[str, Any], has_shape(RefitFacts)] | None = None  # None where nobody asked
    second_phase: str = ""  # which phase the model is of and why, where that was decided by validation; a sentence
    saved_seconds: FiniteFloat = 0.0  # forward passes that the feature cache made unnecessary
    calibration: CalibrationFacts = field(default_factory=dict)  # temperature, images, errors; {} without validation

    @classmethod
    def check_free(cls, path: Path) -> None:
        """Raise NotResumable if a run, or what a Hook recorded of another loop, is in the folder `path` already."""
        super().check_free(path)
        files = RunFolder(path)
        if files.metrics().exists() or (files.tensors / "index.jsonl").exists():
            raise NotResumable(str(path), "the files of another training loop are there", fix="Choose another --out.")

    @classmethod
    def begin(cls, path: Path, recipe: Recipe, **facts: Any) -> Run:
        """Start a run in the new or empty folder `path`; raises NotResumable when a run is there already."""
        cls.check_free(path)  # before anything is written
        seed = recipe.train.seed
        run = cls(path=path, name=path.name, recipe=recipe, seed=seed, process=process_identity(), **facts)
        for folder in (run.files.checkpoints, run.files.bundle, run.files.evaluation):
            folder.mkdir(parents=True, exist_ok=True)
        recipe.write(run.files.recipe, run.weights_comment())
        run.save()  # last, since a folder with run.json counts as a run
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """Return the run in folder `path`; raises NotFound when there is none, BadData when run.json is damaged.

        A run that says "running" but whose process is over was killed: it is returned as interrupted.
        """
        state, source = cls.read_state(path), str(path / "run.json")
        state["stop_kind"] = stop_kind(state.get("stop_kind"))
        if "spared_seconds" in state:  # the name of the field in runs of earlier versions
            state["saved_seconds"] = state.pop("spared_seconds")
        made_with = read_record(Provenance, {name: state.pop(name) for name in _PROVENANCE if name in state}, source)
        others = {"path": path, "recipe": Recipe.load(RunFolder(path).recipe), "provenance": made_with}
        run = read_record(cls, {**state, **others}, source, closed=True)
        if run.status is RunStatus.RUNNING and process_ended(run.process):
            run.end(RunStatus.INTERRUPTED, KILLED)
        return run

    def save(self) -> None:
        state = {key: value for key, value in vars(self).items() if key not in ("path", "recipe", "provenance")}
        write_json(self.files.state, {**state, **asdict(self.provenance)})

    @property
    def files(self) -> RunFolder:
        return RunFolder(self.path)

    @property
    def checkpoints(self) -> Path:
        return self.files.checkpoints

    @property
    def bundle(self) -> Path:
        return self.files.bundle

    @property
    def has_bundle(self) -> bool:
        return (self.bundle / "bundle.json").is_file()

    def weights_comment(self) -> str:
        """Return a comment for recipe.yaml with the file of the start weights and its digest; "" without a file."""
        file = self.weights.get("file")
        return f"# trained from {file}, sha256 {self.weights['sha256']}\n" if file else ""

    def metrics(self) -> list[dict[str, Any]]:
        """Return every line of metrics.jsonl: {"step", "epoch", "mode", "name", "value"}; else raises BadData."""
        lines, file = list(read_jsonl(self.files.metrics())), str(self.files.metrics())
        for number, line in enumerate(lines, 1):
            if not (isinstance(line.get("name"), str) and all(isinstance(line.get(key), int) for key in _COUNTS)):
                raise BadData(file, f"line {number} is damaged", fix="Remove that line to read the rest.")
            if not isinstance(line.get("value"), float | int | None):
                raise BadData(file, f"line {number} has a value that is no number", fix="Remove that line.")
        return lines

    def epochs(self) -> list[dict[str, Any]]:
        """Return each finished epoch, from metrics.jsonl, with the fields of EpochRecord."""
        table: dict[int, dict[str, Any]] = {}
        for line in self.metrics():
            kind, _, name = line["name"].partition("_")
            if kind not in ("epoch", "valid"):
                continue
            empty = {"epoch": line["epoch"], "epochs": self.recipe.train.resolved_epochs, "step": line["step"]}
            row = table.setdefault(line["epoch"], {**empty, "train": {}, "valid": {}})
            if kind == "valid":
                row["valid"][name] = line["value"]
            elif name in ("loss", "accuracy"):
                row["train"][name] = line["value"]
            else:
                row[name] = bool(line["value"]) if name == "best" else line["value"]
        return list(table.values())

    spared_seconds = Former[float]("saved_seconds")
    command = Former[list[str]]("provenance.command")
    versions = Former[dict[str, str]]("provenance.versions")
    hardware = Former[dict[str, Any]]("provenance.hardware")


class MetricsLog(NullObserver):
    """Appends every scalar of every step to metrics.jsonl. On resume, lines after `last_step` are dropped first."""

    def __init__(self, path: Path, *, last_step: int = 0) -> None:
        self._path = path
        if path.exists():
            lines = [line for line in read_jsonl(path) if line["step"] <= last_step]  # they will be trained again
            write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
        self._stream: IO[str] | None = None

    def on_step(self, record: StepRecord) -> None:
        self._append(record.step, record.epoch, record.mode, scalars_of(record))

    def on_epoch(self, record: EpochRecord) -> None:
        self._append(record.step, record.epoch, "eval", {f"valid_{k}": v for k, v in record.valid.items()})
        named = {f"epoch_{k}": v for k, v in record.train.items()}
        values = {"lr": record.lr, "images_per_second": record.images_per_second, "data_share": record.data_share}
        values |= {"seconds": record.seconds, "best": float(record.best)}  # `best` last: readers end the epoch there
        named |= {f"epoch_{k}": v for k, v in values.items()}
        self._append(record.step, record.epoch, "train", named)

    def on_end(self, status: RunStatus, reason: str) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        if self._stream:
            self._stream.close()
            self._stream = None

    def _append(self, step: int, epoch: int, mode: Mode, scalars: Mapping[str, float]) -> None:
        if self._stream is None:
            self._stream = self._path.open("a", encoding="utf-8")
        for name, value in scalars.items():
            line = {"step": step, "epoch": epoch, "mode": mode, "name": name, "value": value}
            self._stream.write(json.dumps(line) + "\n")
        # To the operating system, which outlives this process: no checkpoint is ahead of the file.
        self._stream.flush()
