"""LiveRun: a run that another process trains, as far as its folder tells; reading it does not change it."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearsight.core.events import EpochRecord, RunStatus
from clearsight.core.files import LineFollower, finite_json, read_json
from clearsight.core.finding import Finding, finding_lines, read_findings
from clearsight.core.judge import root_findings
from clearsight.core.profile import PHASES
from clearsight.core.profile_folder import gauges_file, spans_file
from clearsight.core.run import Run
from clearsight.workflow.prepare.defaults import steps_per_epoch
from clearsight.workflow.run.external import EpochMeans, ExternalRun, find_run

_RECENT = 50  # training steps over which speeds and phases are averaged
_SAMPLES = 20  # samples of the gauges that are averaged
_TAIL = 1 << 16  # bytes that are read of a profile that exists already: only recent lines count


class LiveMetrics:
    """Progress as far as metrics.jsonl tells. `update` reads what was appended since the last call.

    losses: (training step, loss), finite ones alone.  scalars: the newest value of each scalar of a training step.
    epochs: the finished ones.
    """

    def __init__(self, path: Path, epochs: int) -> None:
        """path: of metrics.jsonl.  epochs: planned for the whole run."""
        self._file = LineFollower(path)
        self._planned_epochs = epochs
        self._forget()

    def _forget(self) -> None:
        self.losses: list[tuple[int, float]] = []
        self.scalars: dict[str, float] = {}
        self.epochs: list[EpochRecord] = []
        self.step, self.epoch = 0, 0
        self._epoch_values: dict[str, Any] = {}  # of the epoch whose lines are being read
        self._recent = {name: deque[float](maxlen=_RECENT) for name in ("step_seconds", "data_seconds")}

    def update(self) -> None:
        """Read the new lines; after the run went back to a checkpoint, read the file again from its start."""
        # The run dropped the steps after its checkpoint: what was read of them is void.
        before = self._file.restarts
        rows = self._file.rows()
        if self._file.restarts > before:
            self._forget()
        for row in rows:
            self._add(row)

    @property
    def rewinds(self) -> int:
        """Return how often the run went back to a checkpoint while it was followed."""
        return self._file.restarts

    @property
    def step_seconds(self) -> float | None:
        """Return the mean seconds of the recent training steps."""
        times = self._recent["step_seconds"]
        return sum(times) / len(times) if times else None

    @property
    def data_share(self) -> float | None:
        """Return the share of the recent steps' time spent waiting for batches, in [0, 1]."""
        total = sum(self._recent["step_seconds"])
        return sum(self._recent["data_seconds"]) / total if total else None

    def _add(self, row: Mapping[str, Any]) -> None:
        """Add one line; the last line of an epoch is `epoch_best`."""
        name, value = row["name"], row["value"]
        kind = name.partition("_")[0]
        if kind in ("epoch", "valid"):
            self._epoch_values[name] = value
            if name == "epoch_best":
                self._end_epoch(row)
            return
        if row["mode"] != "train" or value is None:
            return
        self.step, self.epoch = row["step"], row["epoch"]
        self.scalars[name] = value
        if name == "loss" and math.isfinite(value):
            self.losses.append((row["step"], value))  # a chart has no place for infinity
        if name in self._recent:
            self._recent[name].append(value)

    def _end_epoch(self, row: Mapping[str, Any]) -> None:
        values, self._epoch_values = self._epoch_values, {}  # the next line belongs to the next epoch
        self.epochs.append(
            EpochRecord(
                epoch=row["epoch"],
                epochs=self._planned_epochs,
                step=row["step"],
                lr=values["epoch_lr"],
                train={name: values[f"epoch_{name}"] for name in ("loss", "accuracy") if f"epoch_{name}" in values},
                valid={name.removeprefix("valid_"): v for name, v in values.items() if name.startswith("valid_")},
                images_per_second=values["epoch_images_per_second"],
                data_share=values["epoch_data_share"],
                seconds=values["epoch_seconds"],
                best=bool(values["epoch_best"]),
            )
        )


class ExternalMetrics(LiveMetrics):
    """The same of a loop that reports batches alone; `finish` closes its last epoch."""

    def _forget(self) -> None:
        super()._forget()
        self._means = EpochMeans(self._planned_epochs)

    def _add(self, row: Mapping[str, Any]) -> None:
        if (record := self._means.add(row)) is not None:
            self.epochs.append(record)
        super()._add(row)

    def finish(self) -> None:
        """Add the epoch under way, once the loop is over."""
        if (record := self._means.end()) is not None:
            self.epochs.append(record)


@dataclass(frozen=True, kw_only=True)
class LivePlan:
    """What was planned. epochs, steps: of the whole run, 0 for not known.  step_images: of a step and a process."""

    model: str
    device: str = ""
    epochs: int = 0
    steps: int = 0
    step_images: int = 0

    @classmethod
    def of(cls, run: Run | ExternalRun) -> LivePlan:
        """Return the plan of a run."""
        if isinstance(run, ExternalRun):
            known = run.context
            model = known.model or "a training loop"
            return cls(model=model, epochs=known.epochs, steps=known.steps, step_images=known.batch_size)
        train = run.recipe.train
        return cls(
            model=run.recipe.model.model,
            device=str(run.provenance.hardware.get("device", "")),
            epochs=train.resolved_epochs,
            step_images=train.batch_size * run.recipe.optim.accumulate,
        )


class LiveProfile:
    """Recent phases and gauges. `update` reads what was appended since the last call.

    ranks: processes of the training job.
    """

    def __init__(self, folder: Path) -> None:
        """folder: the run's `profile`; it need not exist yet."""
        self._gauges = LineFollower(gauges_file(folder), tail=_TAIL)
        self._spans = LineFollower(spans_file(folder), tail=_TAIL)
        self._machine = folder / "machine.json"
        self._samples: deque[Mapping[str, float]] = deque(maxlen=_SAMPLES)
        self._steps: deque[Mapping[str, Any]] = deque(maxlen=_RECENT)
        self.ranks = 1

    def update(self) -> None:
        if self._machine.is_file():
            self.ranks = int(read_json(self._machine).get("ranks", 1))
        self._samples.extend(row["values"] for row in self._gauges.rows() if "values" in row)
        self._steps.extend(row for row in self._spans.rows() if "phases" in row)

    @property
    def phases(self) -> dict[str, float]:
        """Return mean seconds of a recent step in each phase, and in none as "other"; {} without timed steps."""
        if not self._steps:
            return {}
        names_seen = dict.fromkeys(name for row in self._steps for name in row["phases"])
        names = [name for name in PHASES if name in names_seen] + [name for name in names_seen if name not in PHASES]
        sums = {name: sum(row["phases"].get(name, 0.0) for row in self._steps) for name in names}
        other = sum(row["seconds"] for row in self._steps) - sum(sums.values())
        return {name: total / len(self._steps) for name, total in {**sums, "other": max(other, 0.0)}.items()}

    @property
    def gauges(self) -> dict[str, float]:
        """Return means of the recent samples by gauge; {} without samples."""
        names = dict.fromkeys(name for sample in self._samples for name in sample)
        columns = {name: [sample[name] for sample in self._samples if name in sample] for name in names}
        return {name: sum(values) / len(values) for name, values in columns.items()}


class LiveRun:
    """State of a run now. `update` reads what was written since the last call, and only that.

    metrics: steps, losses and epochs so far.  profile: phases and gauges of the last moments.
    """

    def __init__(self, path: Path) -> None:
        """Raises NotFound where there is no run."""
        self.path = path
        self.run = find_run(path)
        self.plan = LivePlan.of(self.run)
        kind = ExternalMetrics if isinstance(self.run, ExternalRun) else LiveMetrics
        self.metrics = kind(self.run.files.metrics(), self.plan.epochs)
        self.profile = LiveProfile(self.run.files.profile)
        self._findings_file = LineFollower(self.run.files.live_findings)
        self._findings: dict[tuple[str, str, str], Finding] = {}  # in order of time, with those that were resolved

    def update(self) -> None:
        # The state first: an ended run has written everything before it writes its state.
        self.run = find_run(self.path)
        self.metrics.update()
        if self.ended and isinstance(self.metrics, ExternalMetrics):
            self.metrics.finish()
        self.profile.update()
        for row in self._findings_file.rows():
            finding = Finding.from_json(row)
            # A run that went back to a checkpoint may find the same again.
            cause = finding.cause if finding.resolved is None else str(finding.resolved)
            self._findings.setdefault((finding.rule, finding.subject, cause), finding)

    @property
    def ended(self) -> bool:
        """Return True when nothing more will come."""
        return self.run.status is not RunStatus.RUNNING

    @property
    def planned_steps(self) -> int:
        """Return the training steps of the whole run, by the epochs so far or the number of images; 0 if unknown."""
        finished = self.metrics.epochs
        if self.plan.steps:
            return self.plan.steps
        if finished:
            return math.ceil(finished[-1].step / finished[-1].epoch) * self.plan.epochs
        if isinstance(self.run, ExternalRun):
            return 0
        images = sum(self.run.data.get("counts", {}).get("train", {}).values())  # no epoch yet: by the images
        return steps_per_epoch(self.run.recipe, images, self.profile.ranks) * self.plan.epochs

    @property
    def seconds_left(self) -> float | None:
        """Return an estimate by the last epoch with its validation, else by the last steps."""
        left, finished = max(self.planned_steps - self.metrics.step, 0), self.metrics.epochs
        if finished and finished[-1].seconds:
            # With validation and checkpoint, which single steps leave out.
            before = finished[-2].step if len(finished) > 1 else 0
            return left * finished[-1].seconds / max(finished[-1].step - before, 1)
        seconds = self.metrics.step_seconds
        return left * seconds if seconds is not None and self.planned_steps else None

    @property
    def images_per_second(self) -> float | None:
        """Return the speed of the recent training steps, over all processes."""
        seconds = self.metrics.step_seconds
        return self.plan.step_images * self.profile.ranks / seconds if seconds else None

    @property
    def silent_seconds(self) -> float:
        """Return the seconds since the run last wrote anything."""
        files = self.run.files
        written = (files.metrics(), files.log, files.state, gauges_file(files.profile), spans_file(files.profile))
        # A clock of a file server may be ahead.
        return max(0.0, time.time() - max(file.stat().st_mtime for file in written if file.exists()))

    def findings(self) -> list[Finding]:
        """Return root causes, most urgent first: of the ended run, else those found so far in order of time."""
        roots = root_findings(read_findings(self.run.files.findings)) if self.ended else []
        if roots:
            return roots
        latest = {finding.rule: finding for finding in self._findings.values()}  # a killed run has no findings.jsonl
        return [finding for finding in latest.values() if finding.resolved is None]

    def lines_so_far(self) -> list[str]:
        """Return the findings of the running job as lines for people, in order of time."""
        return [line for finding in self._findings.values() for line in finding_lines(finding)]

    def finding_lines(self) -> list[str]:
        """Return the findings as lines for people, most urgent first once the run has ended."""
        return [line for finding in self.findings() for line in finding_lines(finding)]

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `clearsight watch --json`."""
        metrics = self.metrics
        return dict(
            finite_json(
                {
                    "path": str(self.path),
                    "status": self.run.status.value,
                    "reason": self.run.reason,
                    "stop_kind": self.run.stop_kind,
                    "epoch": metrics.epoch,
                    "epochs": self.plan.epochs,
                    "step": metrics.step,
                    "steps": self.planned_steps or None,
                    "seconds_left": None if self.ended else self.seconds_left,
                    "silent_seconds": self.silent_seconds,
                    "scalars": metrics.scalars,
                    "valid": metrics.epochs[-1].valid if metrics.epochs else {},
                    "images_per_second": self.images_per_second,
                    "data_share": metrics.data_share,
                    "phases": self.profile.phases,
                    "gauges": self.profile.gauges,
                    "findings": self.finding_lines(),
                }
            )
        )
