"""LocalExecutor: worker processes on this machine."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clearsight.core.executor import Assignment, AssignmentDone, ExecutorEvent, WorkerLost
from clearsight.tuning.executors.protocol import event_of
from clearsight.tuning.executors.spec import ExecutorSpec
from clearsight.tuning.executors.worker_process import WorkerProcess


class LocalExecutor:
    """Keeps clearsight.core.executor.Executor. Workers are started when they are needed and live on between trials.

    command: what starts a worker; the number of the pipe to speak into is added.  hello: what the worker of a slot is
    told first.  logs: folder for what workers write to standard output and error.
    """

    def __init__(
        self, slots: int, command: Sequence[str], hello: Callable[[int], Mapping[str, Any]], logs: Path
    ) -> None:
        self.slots, self._command, self._hello, self._logs = slots, command, hello, logs
        self._workers: dict[int, WorkerProcess] = {}
        self._busy: dict[int, Assignment] = {}
        self._selector = selectors.DefaultSelector()

    def warm(self, count: int = 1) -> None:
        """Start workers before there is work: what they import takes seconds."""
        for slot in range(min(count, self.slots)):
            self._worker(slot)

    def start(self, assignment: Assignment) -> None:
        slot = next(slot for slot in range(self.slots) if slot not in self._busy)
        worker = self._worker(slot)
        self._busy[slot] = assignment
        worker.tell({"do": "work", "assignment": assignment.to_json()})

    def answer(self, number: int, epoch: int, stop: str) -> None:
        for slot, assignment in self._busy.items():
            if any(task.number == number for task in assignment.tasks):
                self._workers[slot].tell({"do": "answer", "trial": number, "epoch": epoch, "stop": stop})

    def interrupt(self) -> None:
        for slot in self._busy:
            self._workers[slot].tell({"do": "interrupt"})

    def events(self, seconds: float) -> list[ExecutorEvent]:
        return [event for key, _ in self._selector.select(seconds) for event in self._heard(key.data)]

    def close(self) -> None:
        for slot in list(self._workers):
            self._forget(slot)
        self._busy.clear()
        self._selector.close()

    def pids(self) -> dict[int, int]:
        """The process of each slot that has one."""
        return {slot: worker.process.pid for slot, worker in self._workers.items()}

    def _worker(self, slot: int) -> WorkerProcess:
        """The living worker of a slot that is about to get work."""
        if slot in self._workers and self._workers[slot].process.poll() is not None:
            self._forget(slot)  # it died between two assignments: nobody has lost anything
        if slot not in self._workers:
            worker = WorkerProcess(self._command, self._hello(slot), self._logs / f"worker-{slot}.log")
            self._workers[slot] = worker
            self._selector.register(worker.pipe, selectors.EVENT_READ, slot)
        return self._workers[slot]

    def _heard(self, slot: int) -> list[ExecutorEvent]:
        worker = self._workers[slot]
        found = [event_of(slot, message) for message in worker.messages()]
        for event in found:
            if isinstance(event, AssignmentDone):
                self._busy.pop(slot, None)
        if not worker.open:
            lost = self._busy.pop(slot, None)
            if lost is not None:
                found.append(WorkerLost(worker=slot, key=lost.key, why=worker.why_gone(), log=worker.last_words()))
            self._forget(slot)
        return found

    def _forget(self, slot: int) -> None:
        worker = self._workers.pop(slot)
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker.pipe)
        worker.end()


def build(crew: ExecutorSpec) -> LocalExecutor:
    """Worker processes on this machine."""
    return LocalExecutor(crew.slots, crew.command, crew.post, crew.logs)
