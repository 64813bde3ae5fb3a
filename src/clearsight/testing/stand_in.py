"""StandIn: does what a worker does without training anything, and dies or fails if its task says so.

The recipe of a task tells what it does: `epochs` with `accuracy` in each (a number or a list), `die_at` or `exit_at` an
epoch, `waits` until it is interrupted, `fails` with a reason. It leaves `seen.json` in the trial's folder, with its
process ID and its resources.

    python -m clearsight.testing.stand_in PIPE     the worker process of the local executor, without torch
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearsight.core.executor import Assignment, TrialTask
from clearsight.core.trial import TrialResult, TrialState
from clearsight.workflow.study.reporter import TrialReporter
from clearsight.workflow.study.worker import run_worker


class StandIn:
    """A runner for `ExecutorSpec.runner`."""

    def __init__(self, resources: Mapping[str, Any]) -> None:
        self.resources = resources

    def run(self, assignment: Assignment, reporter: TrialReporter) -> list[TrialResult]:
        """Return the results of the trials that ended."""
        results: list[TrialResult] = []
        # In their order, as a real runner does: an interruption ends the rest.
        for task in assignment.tasks:
            result = self._try(task, reporter)
            if result is None:
                break
            results.append(result)
        return results

    def _try(self, task: TrialTask, reporter: TrialReporter) -> TrialResult | None:
        """Return the result of a trial; None if it was interrupted."""
        folder = Path(task.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "seen.json").write_text(json.dumps({"pid": os.getpid(), "resources": dict(self.resources)}))
        print(f"trial {task.number} begins", flush=True)  # a worker's output goes into its log
        if reason := task.recipe.get("fails", ""):
            return TrialResult(number=task.number, state=TrialState.FAILED, reason=reason)
        curve: dict[int, dict[str, float]] = {}
        for epoch in range(1, task.recipe.get("epochs", 1) + 1):
            self._die(task, epoch)
            accuracy = task.recipe.get("accuracy", 0.5)
            if isinstance(accuracy, list):
                accuracy = accuracy[epoch - 1]
            value = math.nan if accuracy is None else float(accuracy)
            curve[epoch] = {"accuracy": value}
            stop = reporter.report_epoch(task.number, epoch, curve[epoch])
            # Polls as a training loop does between its steps.
            while task.recipe.get("waits") and not reporter.interruption():
                time.sleep(0.001)  # short: tests wait for it
            if reporter.interruption():
                return None
            if stop:
                return TrialResult(number=task.number, state=TrialState.PRUNED, reason=stop, curve=curve)
        return TrialResult(
            number=task.number,
            state=TrialState.COMPLETE,
            values=(value,),
            curve=curve,
            scores=curve[epoch],
            seconds=1.5,
        )

    def _die(self, task: TrialTask, epoch: int) -> None:
        if epoch == task.recipe.get("die_at"):
            print("these are my last words", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)  # no handler and no clean-up runs, as without memory
        if epoch == task.recipe.get("exit_at"):
            print("this cannot go on", flush=True)
            # At once, as a crash in native code would end it.
            os._exit(3)  # without the clean-up of an exception, which would end the process more gently


if __name__ == "__main__":
    run_worker(StandIn, int(sys.argv[1]))
