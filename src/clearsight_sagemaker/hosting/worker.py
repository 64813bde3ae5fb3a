"""Worker: a process of a model and the socket to it."""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import clearsight
from clearsight.serving.handlers.frames import frame, receive
from clearsight_sagemaker.training.job_log import LineLog
from clearsight_sagemaker.training.processes.job_process import JobProcess, Launch

_PROGRAM = Path(__file__).with_name("worker_process.py")
_POLL_SECONDS = 0.1
_END_SECONDS = 2.0  # for a process to end by itself when its socket is closed


class WorkerEnded(Exception):
    """Raised where the process ends with a request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """Settings of worker_process.py. model, code: folders as the process sees them.  program: "" for no script.

    is_algorithm: the container is that of the built-in image-classification algorithm.
    source: folder in which clearsight is.  threads: of the runtime of a bundle.
    """

    model: str
    code: str
    program: str
    is_bundle: bool
    is_algorithm: bool
    threads: int
    source: str = str(Path(clearsight.__file__).parents[1])


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """Result of a request. status: of HTTP; 200, or the status of an error whose text is the body."""

    status: int
    body: bytes
    content_type: str


class Worker:
    """A running process. It is started by the thread that waits for its end; requests come from any one at a time."""

    def __init__(self, process: JobProcess, connection: socket.socket) -> None:
        self._process, self._connection = process, connection
        self._condemned = threading.Event()

    @classmethod
    def start(cls, python: str, settings: WorkerSettings, launch: Mapping[str, object], log: LineLog) -> Worker:
        """Start a process. launch: the members of its Launch but command and descriptors. Raises OSError."""
        server_end, process_end = socket.socketpair()
        with process_end:
            number = process_end.fileno()
            text = json.dumps({**asdict(settings), "socket": number})
            command = [python, "-P", "-u", str(_PROGRAM), text]
            try:
                parts = Launch(command=command, descriptors=[number], **launch)  # type: ignore[arg-type]
                process = JobProcess.start(parts, log, lambda _: None)
            except (OSError, ValueError):
                server_end.close()
                raise
        return cls(process, server_end)

    def wait_ready(self, seconds: float, is_stopped: Callable[[], bool]) -> str:
        """Return "" once the model is loaded, else why it is not."""
        end = time.monotonic() + seconds
        while not select.select([self._connection], [], [], _POLL_SECONDS)[0]:
            if is_stopped():
                return "the server is stopped"
            if time.monotonic() > end:
                return f"The model was not loaded within {seconds:g} s."
        try:
            head, _ = receive(self._connection)
        except (EOFError, OSError):
            return f"The process of the model ended while it loaded it: {self._ending()}."
        return str(head.get("failed", ""))

    def exchange(self, body: bytes, content_type: str, accept: str, seconds: float) -> InvocationResult:
        """Return the answer of the model. Raises TimeoutError, WorkerEnded; both end the process."""
        try:
            self._connection.settimeout(seconds)
            self._connection.sendall(frame({"content_type": content_type, "accept": accept}, body))
            head, content = receive(self._connection)
        except TimeoutError:
            self._condemned.set()
            raise
        except (EOFError, OSError, ValueError):
            self._condemned.set()
            raise WorkerEnded from None
        return InvocationResult(head["status"], content, head["content_type"])

    def wait(self, seconds: float) -> bool:
        """Wait until the process has ended, or is to be replaced; return True then."""
        # An end beside a request is found by the next call; waiting for it would take a poll every 50 ms.
        return self._process.wait(0) or self._condemned.wait(seconds)

    def end(self) -> str:
        """End the process and return how it ended. For the thread that started it."""
        self._connection.close()  # the process ends by itself, unless it is at work
        if not self._condemned.is_set() and not self._process.wait(_END_SECONDS):
            self._process.terminate()
        if self._condemned.is_set() or not self._process.wait(_END_SECONDS):
            self._process.kill()
        return self._ending()

    def _ending(self) -> str:
        if not self._process.wait(_END_SECONDS):
            return "it does not end"
        outcome = self._process.outcome()
        if outcome.problem:
            return outcome.problem
        code = outcome.exit_code
        return f"signal {code - 128}" if code > 128 else f"exit code {code}"


def product_python() -> str:
    """Return the Python that runs this process, for a model without packages of its own."""
    return sys.executable
