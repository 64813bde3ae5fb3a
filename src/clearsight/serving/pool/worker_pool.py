"""WorkerPool: worker processes that share one listening socket: replaced, scaled, and exchanged for another version."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from clearsight.core.errors import ClearsightError
from clearsight.core.format import size
from clearsight.serving.endpoint_files import EndpointFiles, PoolState, WorkerState
from clearsight.serving.metrics import in_progress, retire
from clearsight.serving.pool.connections import CopiedConnections

LOG = logging.getLogger("clearsight.serving")

# What a worker writes into its pipe: once it answers, once it accepts nothing more, or why it does not answer.
READY, STOPPED, FAILED = b"ready\n", b"stopped\n", b"failed "
_POLL_SECONDS = 0.1
_START_SECONDS = 270.0  # until a worker answers
_DRAIN_SECONDS = 30.0  # from SIGTERM to SIGKILL
_FAREWELL_SECONDS = 2.0  # for the last answers on connections of workers that have ended
_FIRST_DELAY, _LONGEST_DELAY = 0.2, 10.0  # before a worker that ended unasked is replaced, doubled each time
_STABLE_SECONDS = 30.0
_MEMORY_SECONDS = 1.0  # between two looks at the memory of the workers
_BUSY, _BUSY_SECONDS = 8.0, 3.0  # requests in progress in each worker, and how long, before there is one more
_IDLE, _IDLE_SECONDS = 1.0, 60.0  # fewer than that, and how long, before there is one less


class Command(Protocol):
    """Makes the command of a worker of a version. descriptors: listener, report, parent, connections."""

    def __call__(self, version: int, *descriptors: int, states: Path) -> Sequence[str]: ...


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    version: int
    report: int  # pipe that it writes to
    life: int  # pipe whose end it waits for
    connections: CopiedConnections
    started_at: float = field(default_factory=time.monotonic)
    ready: bool = False
    stopped: bool = False
    draining_since: float = 0.0
    failure: str = ""

    @property
    def state(self) -> WorkerState:
        status = "draining" if self.draining_since else "ready" if self.ready else "starting"
        return WorkerState(pid=self.process.pid, version=self.version, status=status)


class WorkerPool:
    """Keeps the workers of an endpoint as its configuration says, until SIGTERM.

    A new version gets workers of its own first; those of the old one finish their requests once the new ones answer. A
    version that does not start is given up, and the old one goes on.
    command: of a worker, which inherits the environment.
    """

    def __init__(self, files: EndpointFiles, listener: socket.socket, command: Command) -> None:
        self._files, self._listener, self._command = files, listener, command
        self._config = files.read_config()
        self._read = 0  # when the configuration was written that was read last
        self._workers: list[_Worker] = []
        self._state = PoolState(pid=os.getpid())
        self._count = self._config.workers[0]
        self._not_before, self._delay = 0.0, _FIRST_DELAY
        self._busy_since = self._idle_since = self._weighed_at = time.monotonic()
        self._stopped = asyncio.Event()
        self._farewells: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Keep the workers; raises ClearsightError where the first version does not start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        shutil.rmtree(self._files.folder / "connections", ignore_errors=True)  # of a pool that was killed
        try:
            while not self._stopped.is_set():
                self._update()
                try:
                    await asyncio.wait_for(self._stopped.wait(), _POLL_SECONDS)
                except TimeoutError:
                    continue
        finally:
            await self._end_all()

    # One update

    def _update(self) -> None:
        self._read_config()
        for worker in [*self._workers]:
            self._read_report(worker)
            if worker.process.poll() is not None:
                self._ended(worker)
        self._scale()
        self._limit_memory()
        self._keep_target()
        self._report()

    def _read_config(self) -> None:
        modified = self._files.modified()
        if modified == self._read:
            return
        self._read, config = modified, self._files.read_config()
        if config.generation == self._config.generation and self._state.generation:
            return
        least, most = config.workers
        self._config, self._count = config, min(max(self._count, least), most)
        self._not_before, self._delay = 0.0, _FIRST_DELAY

    def _read_report(self, worker: _Worker) -> None:
        """Read what a worker reports."""
        try:
            data = os.read(worker.report, 4096)
        except BlockingIOError:
            return
        for line in data.splitlines():
            worker.ready = worker.ready or line + b"\n" == READY
            worker.stopped = worker.stopped or line + b"\n" == STOPPED
            if line.startswith(FAILED):
                worker.failure = line.removeprefix(FAILED).decode(errors="replace")

    def _ended(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        for pipe in (worker.report, worker.life):
            os.close(pipe)
        for task in worker.connections.take_leave():
            self._farewells.add(task)
            task.add_done_callback(self._farewells.discard)
        for folder in (self._files.counters, *(self._files.folder / "variants").glob("*")):
            retire(folder, worker.process.pid)
        if worker.draining_since:
            return
        code = worker.process.returncode
        reason = worker.failure or (f"a worker was ended by signal {-code}" if code < 0 else f"exit code {code}")
        if not worker.ready and worker.version != self._state.version:
            self._give_up(worker.version, reason)
            return
        LOG.warning("worker %d ended (%s); another one takes its place", worker.process.pid, reason)
        self._state = replace(self._state, replaced=self._state.replaced + 1)
        if time.monotonic() - worker.started_at > _STABLE_SECONDS:
            self._delay = _FIRST_DELAY
        self._not_before = time.monotonic() + self._delay
        self._delay = min(_LONGEST_DELAY, 2 * self._delay)

    def _give_up(self, version: int, reason: str) -> None:
        """Go on with the version that is served; without one the endpoint fails."""
        if not self._state.version:
            raise ClearsightError(f"endpoint {self._config.name}", f"its model cannot be served: {reason}")
        LOG.error("version %d was not started: %s", version, reason)
        self._state = replace(self._state, failed=self._config.generation, reason=reason)
        for worker in self._workers:
            if worker.version == version:
                self._drain(worker)

    def _scale(self) -> None:
        """Have a worker more where all are busy, and one less where they are idle."""
        least, most = self._config.workers
        if least == most:
            return
        now, load = time.monotonic(), in_progress(self._files.counters) / max(1, self._state.ready)
        self._busy_since = self._busy_since if load > _BUSY else now
        self._idle_since = self._idle_since if load < _IDLE else now
        if now - self._busy_since > _BUSY_SECONDS and self._count < most:
            self._count, self._busy_since = self._count + 1, now
        elif now - self._idle_since > _IDLE_SECONDS and self._count > least:
            self._count, self._idle_since = self._count - 1, now

    def _limit_memory(self) -> None:
        """Let another worker take the place of one that holds too much memory, once it has answered its requests."""
        now = time.monotonic()
        if not self._config.memory or now < self._weighed_at + _MEMORY_SECONDS:
            return
        self._weighed_at = now
        for worker in self._workers:
            if (
                worker.ready
                and not worker.draining_since
                and (held := memory_of(worker.process.pid)) > self._config.memory
            ):
                LOG.warning("worker %d holds %s; another one takes its place", worker.process.pid, size(held))
                self._state = replace(self._state, replaced=self._state.replaced + 1)
                self._drain(worker)

    def _keep_target(self) -> None:
        target = self._state.version if self._state.failed == self._config.generation else self._config.version
        current = [worker for worker in self._workers if worker.version == target and not worker.draining_since]
        now = time.monotonic()
        for worker in current:
            if not worker.ready and now - worker.started_at > _START_SECONDS:
                worker.failure = f"no answer within {_START_SECONDS:g} s"
                worker.process.kill()
        if now >= self._not_before:
            for _ in range(self._count - len(current)):
                self._start(target)
        ready = [worker for worker in current if worker.ready]
        if len(ready) >= self._count:
            self._state = replace(self._state, version=target)
            # Not before the last worker of another version has stopped to accept: then only the new one answers.
            others = [worker for worker in self._workers if worker.version != target and not worker.stopped]
            if target == self._config.version and not others:
                self._state = replace(self._state, generation=self._config.generation)
            # The newest ones go: the others have warm caches.
            surplus = [
                *ready[self._count :],
                *(w for w in self._workers if w.version != target and not w.draining_since),
            ]
            for worker in surplus:
                self._drain(worker)
        for worker in self._workers:
            if worker.draining_since and now - worker.draining_since > _DRAIN_SECONDS:
                worker.process.kill()

    def _start(self, version: int) -> None:
        report, report_end = os.pipe()
        parent, life = os.pipe()
        os.set_blocking(report, False)
        states = self._files.folder / "connections" / secrets.token_hex(8)
        connections = CopiedConnections(states)
        descriptors = (self._listener.fileno(), report_end, parent, connections.worker_end.fileno())
        try:
            process = subprocess.Popen(
                self._command(version, *descriptors, states=states), stdin=subprocess.DEVNULL, pass_fds=descriptors
            )
        finally:
            os.close(report_end)
            os.close(parent)
            connections.worker_end.close()
        self._workers.append(_Worker(process, version, report, life, connections))

    def _drain(self, worker: _Worker) -> None:
        if not worker.draining_since:
            worker.draining_since = time.monotonic()
            worker.process.terminate()

    def _report(self) -> None:
        state = replace(self._state, workers=tuple(worker.state for worker in self._workers))
        if state != self._state or not self._files.state.exists():
            self._state = state
            self._files.write_state(state)

    async def _end_all(self) -> None:
        self._listener.close()  # in this process: the workers still take what has arrived
        for worker in self._workers:
            self._drain(worker)
        end = time.monotonic() + _DRAIN_SECONDS
        while any(worker.process.poll() is None for worker in self._workers) and time.monotonic() < end:
            await asyncio.sleep(_POLL_SECONDS / 2)
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait()
            self._farewells.update(worker.connections.take_leave())
        if self._farewells:
            await asyncio.wait(self._farewells, timeout=_FAREWELL_SECONDS)


def memory_of(pid: int) -> int:
    """Return the bytes of memory that a process and its children hold, shared ones counted in each; 0 for none."""
    import psutil

    with contextlib.suppress(psutil.Error):  # it has ended meanwhile
        process = psutil.Process(pid)
        held: int = process.memory_info().rss
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                held += child.memory_info().rss
        return held
    return 0
