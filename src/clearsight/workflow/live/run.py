"""LiveRun: a run that another process trains, as far as its folder tells; reading it does not change it."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from clearsight.core.events import RunStatus
from clearsight.core.files import LineFollower, finite_json
from clearsight.core.finding import Finding, finding_lines, read_findings
from clearsight.core.judge import root_findings
from clearsight.core.run import Run
from clearsight.workflow.live.metrics import LiveMetrics
from clearsight.workflow.live.profile import LiveProfile


class LiveRun:
    """State of a run now. `update` reads what was written since the last call, and only that.

    metrics: steps, losses and epochs so far.  profile: phases and gauges of the last moments.
    """

    def __init__(self, path: Path) -> None:
        """Raises NotFound where there is no run."""
        self.path = path
        self.run = Run.open(path)
        self.metrics = LiveMetrics(self.run.files.metrics(), self.run.recipe.train.resolved_epochs)
        self.profile = LiveProfile(self.run.files.profile)
        self._findings_file = LineFollower(self.run.files.live_findings)
        self._findings: dict[tuple[str, str, str], Finding] = {}

    def update(self) -> None:
        """Read what is new."""
        # The state first: an ended run has written everything before it writes its state.
        self.run = Run.open(self.path)
        self.metrics.update()
        self.profile.update()
        for row in self._findings_file.rows():
            finding = Finding.from_json(row)
            # A run that went back to a checkpoint may find the same again.
            self._findings.setdefault((finding.rule, finding.subject, finding.cause), finding)

    @property
    def ended(self) -> bool:
        """Return True when nothing more will come."""
        return self.run.status is not RunStatus.RUNNING

    @property
    def planned_steps(self) -> int:
        """Return the training steps of the whole run, by the epochs so far or the number of images; 0 if unknown."""
        epochs, finished = self.run.recipe.train.resolved_epochs, self.metrics.epochs
        if finished:
            return math.ceil(finished[-1].step / finished[-1].epoch) * epochs
        images = sum(self.run.data.get("counts", {}).get("train", {}).values())  # no epoch yet: by the images
        batches: int = -(-images // (self.run.recipe.train.batch_size * self.profile.ranks))
        return -(-batches // self.run.recipe.optim.accumulate) * epochs

    @property
    def seconds_left(self) -> float | None:
        """Return an estimate by the last epoch with its validation, else by the last steps."""
        left, finished = max(self.planned_steps - self.metrics.step, 0), self.metrics.epochs
        if finished:
            # With validation and checkpoint, which single steps leave out.
            before = finished[-2].step if len(finished) > 1 else 0
            return left * finished[-1].seconds / max(finished[-1].step - before, 1)
        seconds = self.metrics.step_seconds
        return left * seconds if seconds is not None and self.planned_steps else None

    @property
    def images_per_second(self) -> float | None:
        """Return the speed of the recent training steps, over all processes."""
        recipe, seconds = self.run.recipe, self.metrics.step_seconds
        return recipe.train.batch_size * recipe.optim.accumulate * self.profile.ranks / seconds if seconds else None

    @property
    def silent_seconds(self) -> float:
        """Return the seconds since the run last wrote anything."""
        files = self.run.files
        written = (self.metrics.path, files.log, *self.profile.paths, files.state)
        # A clock of a file server may be ahead.
        return max(0.0, time.time() - max(file.stat().st_mtime for file in written if file.exists()))

    def findings(self) -> list[Finding]:
        """Return root causes, most urgent first: of the ended run, else those found so far in order of time."""
        roots = root_findings(read_findings(self.run.files.findings)) if self.ended else []
        return roots or list(self._findings.values())  # a killed run has no findings.jsonl

    def lines_so_far(self) -> list[str]:
        """Return the findings of the running job as lines for people, in order of time."""
        return [line for finding in self._findings.values() for line in finding_lines(finding)]

    def finding_lines(self) -> list[str]:
        """Return the findings as lines for people, most urgent first once the run has ended."""
        return [line for finding in self.findings() for line in finding_lines(finding)]

    def to_json(self) -> dict[str, Any]:
        """Return the shape of `clearsight watch --json`."""
        metrics = self.metrics
        values: dict[str, Any] = finite_json(
            {
                "path": str(self.path),
                "status": self.run.status.value,
                "reason": self.run.reason,
                "stop_kind": self.run.stop_kind,
                "epoch": metrics.epoch,
                "epochs": self.run.recipe.train.resolved_epochs,
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
        return values
