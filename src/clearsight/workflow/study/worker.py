"""Worker process of a study: reads assignments from standard input, and sends its messages through a pipe.

    python -m clearsight.workflow.study.worker PIPE

It lives exactly as long as its standard input: the study may be killed at any moment, and its worker must not go on
training for a study that another process may have continued since.
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
from clearsight.tuning.executors import protocol

_INTERRUPTED = "the study was interrupted"


class PipeReporter:
    """TrialReporter (clearsight.workflow.study.reporter) of a worker process.

    work: assignments that have arrived.  prunable: every epoch of the current assignment has a reply.
    """

    def __init__(self, messages: IO[bytes], pipe: int) -> None:
        self.work: queue.Queue[Assignment] = queue.Queue()
        self.prunable = False
        self._messages, self._pipe = messages, pipe
        self._replies: dict[tuple[int, int], str] = {}
        self._changed = threading.Condition()
        self._interrupted = False

    def listen(self) -> None:
        """Receive the study's messages until its pipe ends, then end the process."""
        for text in self._messages:
            self._receive(json.loads(text))
        os._exit(0)  # at any point of the training: every file survives a kill, and this is no harder

    def send(self, message: Mapping[str, Any]) -> None:
        data = memoryview(protocol.encode(message))
        while data:  # a pipe takes 64 KiB at a time
            data = data[os.write(self._pipe, data) :]

    def report_epoch(self, number: int, epoch: int, scores: Mapping[str, float]) -> str:
        self.send(protocol.epoch_done(number, epoch, scores))
        if not self.prunable:
            return ""
        # The listening thread fills in the reply; an interruption may come instead of it.
        with self._changed:
            self._changed.wait_for(lambda: (number, epoch) in self._replies or self._interrupted)
            return self._replies.pop((number, epoch), "")

    def interruption(self) -> str:
        return _INTERRUPTED if self._interrupted else ""

    def _receive(self, message: Mapping[str, Any]) -> None:
        with self._changed:
            match message["do"]:
                case "work":
                    self._interrupted = False  # an interruption ends with the assignment that it was about
                    self.work.put(Assignment.from_json(message["assignment"]))
                case "reply":
                    self._replies[message["trial"], message["epoch"]] = message["stop"]
                case "interrupt":
                    self._interrupted = True
            self._changed.notify_all()


def run_worker(build_runner: Any, pipe: int) -> None:
    """Run assignments until standard input ends.

    build_runner: called with the worker's resources as JSON values; returns an object with
    `run(assignment, reporter) -> list[TrialResult]`.
    """
    messages = sys.stdin.buffer
    resources = json.loads(messages.readline())
    reporter = PipeReporter(messages, pipe)
    # Before the runner is built: a study that ends during the imports must end its workers too.
    # A thread of its own: an interruption must arrive in the middle of an epoch.
    threading.Thread(target=reporter.listen, name="listening", daemon=True).start()
    runner = build_runner(resources)
    while True:
        assignment = reporter.work.get()
        reporter.prunable = assignment.prunable
        reporter.send(protocol.started(assignment))
        reporter.send(protocol.done(assignment, runner.run(assignment, reporter)))


def _job_runner(resources: Mapping[str, object]) -> Any:
    # Imports torch, which takes seconds: the worker already listens, and the study still scans the images meanwhile.
    from clearsight.workflow.study.job_runner import JobRunner

    return JobRunner.from_json(resources)


if __name__ == "__main__":
    run_worker(_job_runner, int(sys.argv[1]))
