"""MetricsLog: every scalar of every step of a run, appended to metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from clearsight.core.events import EpochRecord, Mode, NullObserver, RunStatus, StepRecord, scalars_of
from clearsight.core.files import read_jsonl, write_text


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
