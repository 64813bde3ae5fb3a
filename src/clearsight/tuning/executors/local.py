"""LocalExecutor: worker processes on this machine."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clearsight.core.executor import Assignment, AssignmentDone, ExecutorEvent, ExecutorSpec, WorkerLost
from clearsight.tuning.executors import protocol
from clearsight.tuning.executors.worker_process import WorkerProcess


class LocalExecutor:
    """Executor with worker processes. A worker starts when it is first needed and lives on between assignments.

    command: starts a worker; the number of the pipe that it writes to is added.  resources: slot -> first message to
    its worker.  logs: folder for what workers write to standard output and error.
    """

    def __init__(
        self, slots: int, command: Sequence[str], resources: Callable[[int], Mapping[str, Any]], logs: Path
    ) -> None:
        self.slots, self._command, self._resources, self._logs = slots, command, resources, logs
        self._workers: dict[int, WorkerProcess] = {}
        self._busy: dict[int, Assignment] = {}
        self._selector = selectors.DefaultSelector()

    def warm(self, count: int = 1) -> None:
        """Start workers before there is work: their imports take seconds."""
        for slot in range(min(count, self.slots)):
            self._worker(slot)

    def start(self, assignment: Assignment) -> None:
        slot = next(slot for slot in range(self.slots) if slot not in self._busy)
        worker = self._worker(slot)
        self._busy[slot] = assignment
        worker.send(protocol.work(assignment))

    def reply(self, number: int, epoch: int, stop: str) -> None:
        for slot, assignment in self._busy.items():
            if any(task.number == number for task in assignment.tasks):
                self._workers[slot].send(protocol.reply(number, epoch, stop))

    def interrupt(self) -> None:
        for slot in self._busy:
            self._workers[slot].send(protocol.interrupt())

    def events(self, seconds: float) -> list[ExecutorEvent]:
        return [event for key, _ in self._selector.select(seconds) for event in self._receive(key.data)]

    def close(self) -> None:
        for slot in list(self._workers):
            self._remove(slot)
        self._busy.clear()
        self._selector.close()

    def pids(self) -> dict[int, int]:
        """Return the process ID of each slot that has a worker."""
        return {slot: worker.process.pid for slot, worker in self._workers.items()}

    def _worker(self, slot: int) -> WorkerProcess:
        """Return the living worker of an idle slot."""
        if slot in self._workers and self._workers[slot].process.poll() is not None:
            self._remove(slot)  # it died between two assignments, which costs nothing
        if slot not in self._workers:
            worker = WorkerProcess(self._command, self._resources(slot), self._logs / f"worker-{slot}.log")
            self._workers[slot] = worker
            self._selector.register(worker.pipe, selectors.EVENT_READ, slot)
        return self._workers[slot]

    def _receive(self, slot: int) -> list[ExecutorEvent]:
        worker = self._workers[slot]
        events = [protocol.event_from(slot, message) for message in worker.receive()]
        for event in events:
            if isinstance(event, AssignmentDone):
                self._busy.pop(slot, None)
        # A worker may have ended its assignment and died afterwards: its last messages come before its loss.
        if not worker.open:
            lost = self._busy.pop(slot, None)
            if lost is not None:
                events.append(WorkerLost(worker=slot, key=lost.key, reason=worker.exit_reason(), log=worker.log_tail()))
            self._remove(slot)
        return events

    def _remove(self, slot: int) -> None:
        worker = self._workers.pop(slot)
        with contextlib.suppress(KeyError):  # not registered if the worker could not be started
            self._selector.unregister(worker.pipe)
        worker.end()


def build(spec: ExecutorSpec) -> LocalExecutor:
    """Build an executor with worker processes on this machine."""
    return LocalExecutor(spec.slots, spec.command, spec.resources, spec.logs)
