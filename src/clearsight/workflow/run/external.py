"""ExternalRun: a training loop of the user's own that a Hook recorded, as far as its folder tells."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from clearsight.core.context import RunContext
from clearsight.core.errors import NotFound
from clearsight.core.events import EpochRecord, RunStatus
from clearsight.core.files import read_json, read_jsonl
from clearsight.core.machine import process_ended
from clearsight.core.run import KILLED, Run, RunFolder
from clearsight.core.stop import StopKind
from clearsight.debugger.storage.tensor_store import FileTensorStore

_SCORES = ("loss", "accuracy")  # of a batch, of which an epoch has the means


class EpochMeans:
    """Epochs of a loop that reports batches alone: means over the batches of an epoch.

    A loop does not say when an epoch ends. One ends with the first training step of the next, or with the loop.
    """

    def __init__(self, epochs: int) -> None:
        """epochs: planned, 0 for not known."""
        self._planned = epochs
        self._best: float | None = None
        self._begin(0)

    def _begin(self, epoch: int) -> None:
        self._epoch, self._step, self._rate = epoch, 0, math.nan
        self._values: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, row: Mapping[str, Any]) -> EpochRecord | None:
        """Add a line of metrics.jsonl; return the epoch that it shows to be over."""
        mode, name, value = row["mode"], row["name"], row["value"]
        ended = self.end() if mode == "train" and row["epoch"] > self._epoch else None
        if mode == "train" and row["epoch"] > self._epoch:
            self._begin(row["epoch"])
        if mode == "train":
            self._step = max(self._step, row["step"])
            if name == "lr" and value is not None:
                self._rate = value
        if name in _SCORES and value is not None and mode in ("train", "eval"):
            self._values[mode, name].append(value)
        return ended

    def end(self) -> EpochRecord | None:
        """Return the epoch under way, since the loop is over; None before the first step."""
        if not self._step:
            return None
        train, valid = self._means("train"), self._means("eval")
        record = EpochRecord(
            epoch=self._epoch,
            epochs=max(self._planned, self._epoch),
            step=self._step,
            lr=self._rate,
            train=train,
            valid=valid,
            images_per_second=0.0,  # a Hook measures no times
            data_share=0.0,
            seconds=0.0,
            best=self._is_best(valid),
        )
        self._begin(self._epoch)
        return record

    def _means(self, mode: str) -> dict[str, float]:
        return {name: fmean(self._values[mode, name]) for name in _SCORES if self._values[mode, name]}

    def _is_best(self, valid: Mapping[str, float]) -> bool:
        score = valid.get("accuracy", -valid["loss"] if "loss" in valid else None)
        is_best = score is not None and (self._best is None or score > self._best)
        self._best = score if is_best else self._best
        return is_best


@dataclass(frozen=True, kw_only=True)
class ExternalRun:
    """Folder of a Hook. context: what the Hook was told, and what it saw of the model.

    status: running until the Hook is closed, or until its process is over, which is then an interruption.
    """

    path: Path
    context: RunContext
    status: RunStatus

    reason: str = ""  # a Hook does not know why a loop ended that closed it
    stop_kind: StopKind | None = None

    @classmethod
    def open(cls, path: Path) -> ExternalRun:
        """Return the run of a Hook in the folder `path`; raises NotFound where there is none."""
        files = RunFolder(path)
        if not files.metrics().is_file() and not files.tensors.is_dir():
            raise NotFound(str(path), "there is no run in this folder (no run.json, metrics.jsonl or tensors)")
        store = FileTensorStore(files.tensors)
        context = store.read_context()
        if store.end_status is not None:
            return cls(path=path, context=context, status=RunStatus(store.end_status))
        if files.process.is_file() and process_ended(read_json(files.process)):
            status, reason, kind = RunStatus.INTERRUPTED, KILLED.text, KILLED.kind
            return cls(path=path, context=context, status=status, reason=reason, stop_kind=kind)
        return cls(path=path, context=context, status=RunStatus.RUNNING)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def files(self) -> RunFolder:
        return RunFolder(self.path)

    @property
    def data(self) -> dict[str, Any]:
        """What the Hook knows of the data, with the keys of a run's own; {} where nobody said the classes."""
        classes, counts = list(self.context.classes), self.context.class_counts
        known: dict[str, Any] = {"classes": classes} if classes else {}
        if classes and len(counts) == len(classes):
            known["counts"] = {"train": dict(zip(classes, counts, strict=True))}
        return known

    def metrics(self) -> list[dict[str, Any]]:
        """Return every line of metrics.jsonl; none before the first step."""
        path = self.files.metrics()
        return list(read_jsonl(path)) if path.is_file() else []

    def epochs(self) -> list[dict[str, Any]]:
        """Return each epoch with the fields of EpochRecord that are known: no speeds and no times."""
        return [_known(record) for record in epoch_records(self.metrics(), self.context.epochs)]


def find_run(path: Path) -> Run | ExternalRun:
    """Return the run in the folder `path`, clearsight's own or that of a Hook. Raises NotFound where there is none."""
    return Run.open(path) if Run.exists(path) else ExternalRun.open(path)


def epoch_records(rows: Iterable[Mapping[str, Any]], epochs: int) -> list[EpochRecord]:
    """Return the epochs in the lines of metrics.jsonl. epochs: planned, 0 for not known."""
    means = EpochMeans(epochs)
    records = [*map(means.add, rows), means.end()]
    return [record for record in records if record is not None]


def _known(record: EpochRecord) -> dict[str, Any]:
    unknown = ("images_per_second", "data_share", "seconds")
    return {name: value for name, value in asdict(record).items() if name not in unknown}
