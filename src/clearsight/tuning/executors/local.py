"""LocalExecutor: worker processes on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clearsight.core.executor import Assignment, AssignmentDone, ExecutorEvent, ExecutorSpec, WorkerLost
from clearsight.tuning.executors import protocol

_TAIL = 12  # lines of the log of a dead worker that its study shows
_CHUNK = 1 << 16  # bytes; the capacity of a pipe on Linux
_PATIENCE = 2.0  # seconds for a worker to exit by itself


class LocalExecutor:
    """Executor with worker processes of this machine.

    A worker starts when it is first needed and lives on between assignments. The first message to it is its resources;
    what it writes to standard output and error goes to a file in the folder of the logs.
    """

    def __init__(self, spec: ExecutorSpec) -> None:
        self.slots, self._spec = spec.slots, spec
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
            log = self._spec.logs / f"worker-{slot}.log"
            worker = WorkerProcess(self._spec.command, self._spec.resources(slot), log)
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


class WorkerProcess:
    """A worker that reads messages from standard input and writes messages to a pipe; its other output goes to a log.

    It has a session of its own, so that Ctrl-C reaches the study alone. It exits when its standard input ends, so that
    it never outlives the study.

    open: False once it will send nothing more.
    """

    def __init__(self, command: Sequence[str], resources: Mapping[str, Any], log: Path) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        try:
            with log.open("ab") as output:
                self._log_start = output.tell()  # an earlier worker of this slot may have written before
                self.process = subprocess.Popen(
                    [*command, str(write_end)],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=[write_end],
                    start_new_session=True,
                )
        except BaseException:  # also KeyboardInterrupt: the descriptor would leak
            os.close(read_end)
            raise
        finally:
            os.close(write_end)  # only the worker may hold it: its exit then ends the pipe
        self.pipe, self._partial_line, self.open = read_end, b"", True
        self.send(resources)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; without effect on a dead worker, which `receive` notices."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(protocol.encode(message))
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):  # ValueError: standard input is closed already
            self.open = self.open and self.process.poll() is None

    def receive(self) -> list[dict[str, Any]]:
        """Return the messages since the last call, without waiting; sets `open` to False at the end of the pipe."""
        chunks = [self._partial_line]
        while True:
            try:
                chunk = os.read(self.pipe, _CHUNK)
            except BlockingIOError:
                break
            if not chunk:
                self.open = False
                break
            chunks.append(chunk)
        *lines, self._partial_line = b"".join(chunks).split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self) -> None:
        """End the process, if necessary by a kill, and close its pipes."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the process has exited and left buffered input
            self.process.stdin.close()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.pipe)

    def exit_reason(self) -> str:
        """Return how the process ended, as a clause."""
        try:
            code = self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return "its worker closed its pipe"
        if code < 0:
            return f"its worker was killed by {signal.Signals(-code).name}"
        return f"its worker exited with code {code}"

    def log_tail(self) -> str:
        """Return the last lines that this process wrote to its log."""
        with self.log.open("rb") as output:
            output.seek(self._log_start)
            return "\n".join(output.read().decode(errors="replace").splitlines()[-_TAIL:])
