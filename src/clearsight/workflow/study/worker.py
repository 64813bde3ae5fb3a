"""A worker process of a study: takes assignments from standard input, tells what comes of them through a pipe.

    python -m clearsight.workflow.study.worker PIPE

It lives exactly as long as its standard input: whoever holds the other end may be killed at any moment, and nobody
must go on training for a study that has been taken up by another process since.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Mapping
from typing import IO, Any

from clearsight.core.executor import Assignment
from clearsight.tuning.executors import protocol as messages

_INTERRUPTED = "the study was interrupted"


class PipeReporter:
    """The worker's end of the line to its study; a clearsight.workflow.study.reporter.TrialReporter."""

    def __init__(self, told: IO[bytes], pipe: int) -> None:
        self.work: queue.Queue[Assignment] = queue.Queue()
        self._told, self._pipe = told, pipe
        self._answers: dict[tuple[int, int], str] = {}
        self._changed = threading.Condition()
        self._interrupted = False
        self.answered = False  # whether every epoch of the present assignment gets an answer

    def listen(self) -> None:
        """Take in what the study says, until it says no more; then there is nothing left to live for."""
        for text in self._told:
            self._take(json.loads(text))
        os._exit(0)  # in the middle of whatever: a kill would be no gentler, and every file survives one

    def say(self, message: Mapping[str, Any]) -> None:
        """Tell the study something."""
        data = memoryview(messages.line(message))
        while data:
            data = data[os.write(self._pipe, data) :]

    def epoch(self, number: int, epoch: int, scores: Mapping[str, float]) -> str:
        self.say(messages.epoch_done(number, epoch, dict(scores)))
        if not self.answered:
            return ""
        with self._changed:
            self._changed.wait_for(lambda: (number, epoch) in self._answers or self._interrupted)
            return self._answers.pop((number, epoch), "")

    def interrupted(self) -> str:
        return _INTERRUPTED if self._interrupted else ""

    def _take(self, message: Mapping[str, Any]) -> None:
        with self._changed:
            match message["do"]:
                case "work":
                    self._interrupted = False
                    self.work.put(Assignment.from_json(message["assignment"]))
                case "answer":
                    self._answers[message["trial"], message["epoch"]] = message["stop"]
                case "interrupt":
                    self._interrupted = True
            self._changed.notify_all()


def main(pipe: int) -> None:
    """Work until standard input ends."""
    told = sys.stdin.buffer
    hello = json.loads(told.readline())
    line = PipeReporter(told, pipe)
    threading.Thread(target=line.listen, name="listening", daemon=True).start()

    from clearsight.workflow.study.job_runner import (
        JobRunner,  # imports torch, while the study still looks at the images
    )
    from clearsight.workflow.study.reporter import WorkerResources

    bench = JobRunner(WorkerResources.from_json(hello))
    while True:
        assignment = line.work.get()
        line.answered = assignment.told
        line.say(messages.begun(assignment))
        line.say(messages.done(assignment, bench.carry_out(assignment, line)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
