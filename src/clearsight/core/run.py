"""A training run: its folder, its state, and the events that observers receive."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from clearsight.core.errors import BadData, NotFound, NotResumable
from clearsight.core.files import read_json, write_json, write_text
from clearsight.core.finding import Finding
from clearsight.core.recipe import Recipe

Mode = Literal["train", "eval"]


class RunStatus(StrEnum):
    """How a run stands. Only `completed` and `stopped_early` are ends; `interrupted` and `running` can be resumed."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED_EARLY = "stopped_early"
    INTERRUPTED = "interrupted"
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """One optimizer step (mode "train"): `step` counts from 1 over the whole run, `epoch` from 1."""

    step: int
    epoch: int
    mode: Mode
    scalars: Mapping[str, float]
    samples: int = 0  # pictures in the step, over all ranks
    data_seconds: float = 0.0  # waited for the batch
    step_seconds: float = 0.0  # the whole step, waiting included
    ids: tuple[str, ...] = ()  # which pictures, where the batch knows


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochRecord:
    """One finished epoch: scores on the training batches as seen, and on the validation split (empty without one)."""

    epoch: int
    epochs: int
    step: int
    lr: float
    train: Mapping[str, float]
    valid: Mapping[str, float]
    images_per_second: float
    data_share: float  # share of the epoch's time spent waiting for batches, in [0, 1]
    seconds: float
    best: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """What a run is about to do, shown before the first step."""

    model: str
    weights: str
    parameters: int
    trainable: int
    classes: int
    images: Mapping[str, int]  # per split
    imbalance: float
    preprocess: str
    device: str
    precision: str
    batch_size: int
    workers: int
    epochs: int
    steps: int
    lr: float
    seconds: float  # estimate; about 0 where features are cached
    cached: str  # "" or what the feature cache holds
    notes: tuple[str, ...] = ()
    measured: str = ""  # what the profiler measures
    saved: tuple[str, ...] = ()  # what the debugger will save, and which rules get how much


class Observer(Protocol):
    """Receives every event of a run, in order, on the training thread of rank 0. All methods are optional to act on.

    vital: when an observer fails, a vital one stops the run; a non-vital one is reported once and left out after that.
    """

    vital: bool

    def on_plan(self, plan: RunPlan) -> None: ...

    def on_step(self, record: StepRecord) -> None: ...

    def on_epoch(self, record: EpochRecord) -> None: ...

    def on_finding(self, finding: Finding) -> None: ...

    def on_end(self, status: RunStatus, reason: str) -> None: ...


class NullObserver:
    """The observer that does nothing; a base for those that care about one event."""

    vital = True

    def on_plan(self, plan: RunPlan) -> None:
        """Called once, before the first step."""

    def on_step(self, record: StepRecord) -> None:
        """Called after each optimizer step."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Called after each epoch."""

    def on_finding(self, finding: Finding) -> None:
        """Called when the debugger first finds something, and when it did something about it."""

    def on_end(self, status: RunStatus, reason: str) -> None:
        """Called once, however the run ended, unless the process was killed."""


@dataclass(kw_only=True)
class Run:
    """A run folder. run.json is rewritten atomically at each change of state; all else is written once or appended."""

    path: Path
    name: str
    recipe: Recipe
    status: RunStatus = RunStatus.RUNNING
    reason: str = ""
    seed: int = 0
    data: dict[str, Any] = field(default_factory=dict)  # path, format, fingerprint, classes, counts
    versions: dict[str, str] = field(default_factory=dict)
    hardware: dict[str, Any] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    seconds: float = 0.0
    best_epoch: int | None = None
    scores: dict[str, Any] = field(default_factory=dict)  # {"valid": {...}, "test": {...} | None}
    images_per_second: float | None = None
    spared_seconds: float = 0.0  # of forward passes that the feature cache answered

    @classmethod
    def begin(cls, path: Path, recipe: Recipe, **facts: Any) -> Run:
        """A new run in the new or empty folder `path`; raises NotResumable when a run is there already."""
        cls.check_free(path)
        for folder in ("checkpoints", "model", "evaluation"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        run = cls(path=path, name=path.name, recipe=recipe, seed=recipe.train.seed, **facts)
        write_text(path / "recipe.yaml", recipe.to_yaml())
        run.save()
        return run

    @staticmethod
    def check_free(path: Path) -> None:
        """Raise NotResumable when a run is in the folder `path` already."""
        if (path / "run.json").exists():
            raise NotResumable(
                str(path), "a run is there already", fix=f"Continue it with --resume {path}, or choose another --out."
            )

    @classmethod
    def open(cls, path: Path) -> Run:
        """The run in folder `path`; raises NotFound when there is none."""
        if not (path / "run.json").is_file():
            raise NotFound(str(path), "there is no run in this folder (no run.json)")
        facts = read_json(path / "run.json")
        facts["status"] = RunStatus(facts["status"])
        return cls(path=path, recipe=Recipe.load(path / "recipe.yaml"), **facts)

    def save(self) -> None:
        """Write run.json."""
        facts = {key: value for key, value in self.__dict__.items() if key not in ("path", "recipe")}
        write_json(self.path / "run.json", facts)

    def finish(self, status: RunStatus, reason: str = "") -> None:
        """Record how it ended."""
        self.status, self.reason = status, reason
        self.save()

    @property
    def checkpoints(self) -> Path:
        """Folder of the resume state."""
        return self.path / "checkpoints"

    @property
    def bundle(self) -> Path:
        """Folder of the model that came out."""
        return self.path / "model"

    @property
    def has_bundle(self) -> bool:
        """Whether a model came out."""
        return (self.bundle / "bundle.json").is_file()

    def metrics(self) -> list[dict[str, Any]]:
        """Every line of metrics.jsonl: {"step", "epoch", "mode", "name", "value"}; a torn last line is left out."""
        return list(read_jsonl(self.path / "metrics.jsonl"))

    def epochs(self) -> list[dict[str, Any]]:
        """Each finished epoch, from metrics.jsonl, with the fields of EpochRecord."""
        table: dict[int, dict[str, Any]] = {}
        for line in self.metrics():
            kind, _, name = line["name"].partition("_")
            if kind not in ("epoch", "valid"):
                continue
            blank = {"epoch": line["epoch"], "epochs": self.recipe.train.passes, "step": line["step"]}
            row = table.setdefault(line["epoch"], {**blank, "train": {}, "valid": {}})
            if kind == "valid":
                row["valid"][name] = line["value"]
            elif name in ("loss", "accuracy"):
                row["train"][name] = line["value"]
            else:
                row[name] = bool(line["value"]) if name == "best" else line["value"]
        return list(table.values())


class MetricsLog(NullObserver):
    """Appends every scalar of every step to metrics.jsonl. On resume, lines after `last_step` are dropped first."""

    def __init__(self, path: Path, *, last_step: int = 0) -> None:
        self._path = path
        if path.exists():
            kept = [line for line in read_jsonl(path) if line["step"] <= last_step]
            write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._stream: IO[str] | None = None

    def on_step(self, record: StepRecord) -> None:
        self._append(record.step, record.epoch, record.mode, scalars_of(record))

    def on_epoch(self, record: EpochRecord) -> None:
        self._append(record.step, record.epoch, "eval", {f"valid_{k}": v for k, v in record.valid.items()})
        named = {f"epoch_{k}": v for k, v in record.train.items()}
        facts = {"lr": record.lr, "images_per_second": record.images_per_second, "data_share": record.data_share}
        named |= {f"epoch_{k}": v for k, v in {**facts, "seconds": record.seconds, "best": float(record.best)}.items()}
        self._append(record.step, record.epoch, "train", named)

    def on_end(self, status: RunStatus, reason: str) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a later line opens it again."""
        if self._stream:
            self._stream.close()
            self._stream = None

    def _append(self, step: int, epoch: int, mode: Mode, scalars: Mapping[str, float]) -> None:
        if self._stream is None:
            self._stream = self._path.open("a", encoding="utf-8")
        for name, value in scalars.items():
            line = {"step": step, "epoch": epoch, "mode": mode, "name": name, "value": value}
            self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()  # to the system, which outlives this process: a checkpoint never knows more than the file


def scalars_of(record: StepRecord) -> dict[str, float]:
    """Every number of a step that is kept: its scalars and how long it took."""
    return {**record.scalars, "step_seconds": record.step_seconds, "data_seconds": record.data_seconds}


def read_jsonl(path: Path) -> Iterable[dict[str, Any]]:
    """The objects of a JSON-lines file; a last line that a crash cut short is left out, nothing else is forgiven.

    Raises BadData with the number of a line that is damaged.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    whole, tail = lines[:-1], lines[-1]
    rows = [_parsed(path, number, line) for number, line in enumerate(whole, 1) if line]
    try:
        return [*rows, json.loads(tail)] if tail else rows
    except json.JSONDecodeError:
        return rows


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise BadData(str(path), f"line {number} is damaged", fix="Remove that line to read the rest.")
    return value


def as_dict(record: StepRecord | EpochRecord | RunPlan) -> dict[str, Any]:
    """A record as plain JSON values."""
    return asdict(record)
