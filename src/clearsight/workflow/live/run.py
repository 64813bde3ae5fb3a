"""LiveRun: a run that another process trains, as far as its folder tells; looking at it does not touch it."""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearsight.core.events import EpochRecord, RunStatus
from clearsight.core.files import LineFollower, read_json
from clearsight.core.finding import Finding, finding_lines, read_findings
from clearsight.core.judge import root_findings
from clearsight.core.profile import PHASES
from clearsight.core.profile_folder import gauges_file, spans_file
from clearsight.core.run import Run

_RECENT = 50  # training steps that are called recent
_LOOKS = 20  # at the machine
_TAIL = 1 << 16  # bytes of a profile that are read of what was there before
_SAID = re.compile(r"\S+ {1,3}(?=(?:severe|warning|info) )")  # how a line of log.txt that tells of a finding begins
_MORE = re.compile(r"\S+ {1,3}(?=(?:fix|advice) )")


class LiveRun:
    """What is known of a run now. `look` takes in what was written since the last look, and only that.

    losses: (training step, loss), finite ones alone.  scalars: the newest value of each scalar of a training step.
    epochs: the finished ones.  gauges: names to means over the last looks at the machine.  phases: seconds of a recent
    step by phase.  said: lines about findings, as log.txt has them.
    """

    def __init__(self, path: Path) -> None:
        """Raises NotFound where there is no run."""
        self.path = path
        self.run = Run.open(path)
        self._metrics = LineFollower(path / "metrics.jsonl")
        self._log = LineFollower(path / "log.txt")
        self._gauges = LineFollower(gauges_file(path / "profile"), tail=_TAIL)
        self._spans = LineFollower(spans_file(path / "profile"), tail=_TAIL)
        self._looks: deque[Mapping[str, float]] = deque(maxlen=_LOOKS)
        self._timed: deque[Mapping[str, Any]] = deque(maxlen=_RECENT)
        self._machine = path / "profile" / "machine.json"
        self._ranks = 1
        self.said: list[str] = []
        self._forget()

    def _forget(self) -> None:
        self.losses: list[tuple[int, float]] = []
        self.scalars: dict[str, float] = {}
        self.epochs: list[EpochRecord] = []
        self.step, self.epoch = 0, 0
        self._begun: dict[str, Any] = {}
        self._recent: dict[str, deque[float]] = {
            name: deque(maxlen=_RECENT) for name in ("step_seconds", "data_seconds")
        }

    def look(self) -> None:
        """Take in what is new."""
        # The state first: what a run says that has ended was written before that.
        self.run = Run.open(self.path)
        before = self._metrics.restarts
        rows = self._metrics.rows()
        if self._metrics.restarts > before:
            self._forget()
        for row in rows:
            self._take(row)
        self._hear(self._log.lines())
        if self._machine.is_file():
            self._ranks = int(read_json(self._machine).get("ranks", 1))
        self._looks.extend(row["values"] for row in self._gauges.rows() if "values" in row)
        self._timed.extend(row for row in self._spans.rows() if "phases" in row)

    @property
    def rewinds(self) -> int:
        """How often the run went back to a checkpoint while it was looked at."""
        return self._metrics.restarts

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.run.status is not RunStatus.RUNNING

    @property
    def planned(self) -> int:
        """Training steps of the whole run, as the epochs so far or the images tell; 0 where neither does."""
        passes = self.run.recipe.train.passes
        if self.epochs:
            return math.ceil(self.epochs[-1].step / self.epochs[-1].epoch) * passes
        images = sum(self.run.data.get("counts", {}).get("train", {}).values())
        batches: int = -(-images // (self.run.recipe.train.batch_size * self._ranks))
        return -(-batches // self.run.recipe.optim.accumulate) * passes

    @property
    def seconds_left(self) -> float | None:
        """About how long it will take yet, by the last epoch with its validation, else by the last steps."""
        left = max(self.planned - self.step, 0)
        if self.epochs:
            last = self.epochs[-1]
            before = self.epochs[-2].step if len(self.epochs) > 1 else 0
            return left * last.seconds / max(last.step - before, 1)
        times = self._recent["step_seconds"]
        return left * sum(times) / len(times) if times and self.planned else None

    @property
    def step_seconds(self) -> float | None:
        """Mean of the recent training steps."""
        times = self._recent["step_seconds"]
        return sum(times) / len(times) if times else None

    @property
    def images_per_second(self) -> float | None:
        """Of the recent training steps, over all processes."""
        how, each = self.run.recipe, self.step_seconds
        return how.train.batch_size * how.optim.accumulate * self._ranks / each if each else None

    @property
    def data_share(self) -> float | None:
        """Share of the recent steps' time spent waiting for batches, in [0, 1]."""
        total = sum(self._recent["step_seconds"])
        return sum(self._recent["data_seconds"]) / total if total else None

    @property
    def phases(self) -> dict[str, float]:
        """Mean seconds of a recent step in each phase, and in none as "other"; {} where nobody timed them."""
        if not self._timed:
            return {}
        seen = dict.fromkeys(name for row in self._timed for name in row["phases"])
        names = (*(name for name in PHASES if name in seen), *(name for name in seen if name not in PHASES))
        sums = {name: sum(row["phases"].get(name, 0.0) for row in self._timed) for name in names}
        other = sum(row["seconds"] for row in self._timed) - sum(sums.values())
        return {name: total / len(self._timed) for name, total in {**sums, "other": max(other, 0.0)}.items()}

    @property
    def gauges(self) -> dict[str, float]:
        """Means of the last looks at the machine, by name; {} where nobody looked."""
        names = dict.fromkeys(name for look in self._looks for name in look)
        columns = {name: [look[name] for look in self._looks if name in look] for name in names}
        return {name: sum(values) / len(values) for name, values in columns.items()}

    @property
    def silent(self) -> float:
        """Seconds since the run last wrote anything."""
        files = (self._metrics.path, self._log.path, self._gauges.path, self._spans.path, self.path / "run.json")
        return max(0.0, time.time() - max(file.stat().st_mtime for file in files if file.exists()))

    def findings(self) -> list[Finding]:
        """Root causes that the rules found, most pressing first; they judge when the run has ended."""
        return root_findings(read_findings(self.path / "findings.jsonl")) if self.ended else []

    def finding_lines(self) -> list[str]:
        """What was found so far, for people."""
        judged = self.findings()
        return [line for finding in judged for line in finding_lines(finding)] if judged else self.said

    def to_json(self) -> dict[str, Any]:
        """The shape of `clearsight watch --json`."""
        last = self.epochs[-1] if self.epochs else None
        return {
            "path": str(self.path),
            "status": self.run.status.value,
            "reason": self.run.reason,
            "epoch": self.epoch,
            "epochs": self.run.recipe.train.passes,
            "step": self.step,
            "steps": self.planned or None,
            "seconds_left": None if self.ended else self.seconds_left,
            "silent_seconds": self.silent,
            "scalars": {name: _finite(value) for name, value in self.scalars.items()},
            "valid": {name: _finite(value) for name, value in last.valid.items()} if last else {},
            "images_per_second": self.images_per_second,
            "data_share": self.data_share,
            "phases": self.phases,
            "gauges": self.gauges,
            "findings": self.finding_lines(),
        }

    def _take(self, row: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl; the last one of an epoch is `epoch_best`."""
        name, value = row["name"], row["value"]
        kind = name.partition("_")[0]
        if kind in ("epoch", "valid"):
            self._begun[name] = value
            if name == "epoch_best":
                self._end_epoch(row)
            return
        if row["mode"] != "train" or value is None:
            return
        self.step, self.epoch = row["step"], row["epoch"]
        self.scalars[name] = value
        if name == "loss" and math.isfinite(value):
            self.losses.append((row["step"], value))
        if name in self._recent:
            self._recent[name].append(value)

    def _end_epoch(self, row: Mapping[str, Any]) -> None:
        told, self._begun = self._begun, {}
        self.epochs.append(
            EpochRecord(
                epoch=row["epoch"],
                epochs=self.run.recipe.train.passes,
                step=row["step"],
                lr=told["epoch_lr"],
                train={name: told[f"epoch_{name}"] for name in ("loss", "accuracy") if f"epoch_{name}" in told},
                valid={name.removeprefix("valid_"): value for name, value in told.items() if name.startswith("valid_")},
                images_per_second=told["epoch_images_per_second"],
                data_share=told["epoch_data_share"],
                seconds=told["epoch_seconds"],
                best=bool(told["epoch_best"]),
            )
        )

    def _hear(self, lines: list[str]) -> None:
        """Keep what log.txt says of findings, each once; a fix or an advice belongs to the finding before it."""
        new = False
        for line in lines:
            if _SAID.match(line):
                told = _SAID.sub("", line, count=1)
                new = told not in self.said
            elif _MORE.match(line):
                told = _MORE.sub("", line, count=1)
            else:
                new = False
            if new:
                self.said.append(told)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
