"""StandIn: does what a worker does without training anything, and dies or fails where its task says so.

What a task asks for stands in its recipe: `epochs` with `accuracy` in each (a number or a list), `die_at` or `exit_at`
an epoch, `waits` until it is interrupted, `fails` for a reason. It leaves `seen.json` in the trial's folder: its
process and its post.

    python -m clearsight.testing.stand_in PIPE     the worker process of the local executor, without torch
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearsight.core.executor import Assignment, TrialTask
from clearsight.core.trial import TrialResult, TrialState
from clearsight.tuning.executors import protocol as messages
from clearsight.workflow.study.reporter import TrialReporter
from clearsight.workflow.study.worker import PipeReporter


class StandIn:
    """A bench for `Crew.bench`."""

    def __init__(self, post: Mapping[str, Any]) -> None:
        self.post = post

    def carry_out(self, assignment: Assignment, talk: TrialReporter) -> list[TrialResult]:
        """The outcomes of the trials that came to an end."""
        outcomes: list[TrialResult] = []
        for task in assignment.tasks:
            outcome = self._tried(task, talk)
            if outcome is None:
                break
            outcomes.append(outcome)
        return outcomes

    def _tried(self, task: TrialTask, talk: TrialReporter) -> TrialResult | None:
        """What came of a trial; None where it was interrupted."""
        folder = Path(task.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "seen.json").write_text(json.dumps({"pid": os.getpid(), "post": dict(self.post)}))
        print(f"trial {task.number} begins", flush=True)
        if reason := task.recipe.get("fails", ""):
            return TrialResult(number=task.number, state=TrialState.FAILED, reason=reason)
        curve: dict[int, dict[str, float]] = {}
        for epoch in range(1, task.recipe.get("epochs", 1) + 1):
            self._end(task, epoch)
            said = task.recipe.get("accuracy", 0.5)
            value = math.nan if said is None else float(said[epoch - 1] if isinstance(said, list) else said)
            curve[epoch] = {"accuracy": value}
            stop = talk.epoch(task.number, epoch, curve[epoch])
            while task.recipe.get("waits") and not talk.interrupted():
                time.sleep(0.001)
            if talk.interrupted():
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

    def _end(self, task: TrialTask, epoch: int) -> None:
        if epoch == task.recipe.get("die_at"):
            print("these are my last words", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if epoch == task.recipe.get("exit_at"):
            print("this cannot go on", flush=True)
            os._exit(3)


def main(pipe: int) -> None:
    """Work until standard input ends."""
    told = sys.stdin.buffer
    bench, line = StandIn(json.loads(told.readline())), PipeReporter(told, pipe)
    threading.Thread(target=line.listen, daemon=True).start()
    while True:
        assignment = line.work.get()
        line.answered = assignment.told
        line.say(messages.begun(assignment))
        line.say(messages.done(assignment, bench.carry_out(assignment, line)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
