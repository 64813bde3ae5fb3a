"""ModelServer: the processes of a model, kept alive, and requests to them. `model_server` serves within a block."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from clearsight.core.errors import BadValue, ClearsightError
from clearsight.core.machine import cores
from clearsight_sagemaker.algorithms.built_in_algorithms import built_in_algorithm
from clearsight_sagemaker.hosting.container_definition import ContainerDefinition
from clearsight_sagemaker.hosting.model_files import ModelFiles
from clearsight_sagemaker.hosting.worker import InvocationResult, Worker, WorkerEnded, WorkerSettings, product_python
from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.training.environment import UserEnvironment
from clearsight_sagemaker.training.failure import client_error
from clearsight_sagemaker.training.job_folder import JobFolder
from clearsight_sagemaker.training.job_log import JobLog
from clearsight_sagemaker.training.processes.namespaces import NamespaceSupport, namespace_support, remove_work
from clearsight_sagemaker.training.remote_objects import objects_of

LOG = logging.getLogger("clearsight.sagemaker")

_POLL_SECONDS = 0.1
_WATCH_SECONDS = 0.25  # between two looks at a process that has no request
_WAITING = 100  # requests that wait for a process, as in TorchServe
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0  # before a process that does not start is started again, doubled each time
_TEXT = "text/plain"
TIMED_OUT = 504
TIMEOUT_TEXT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for each"
    " container in Amazon CloudWatch, resolve the issue, and try again."
)


@dataclass(slots=True)
class ModelServer:
    """Processes of a model. `invoke` may be called by many threads; each process answers one request at a time.

    A process that ends, or does not answer in time, is replaced. Where the model cannot be loaded, `problem` is its
    traceback, and every request is answered with it at once.
    """

    files: ModelFiles
    support: NamespaceSupport
    log: JobLog
    _free: queue.SimpleQueue[Worker] = field(default_factory=queue.SimpleQueue)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _decided: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _problems: dict[int, str] = field(default_factory=dict)
    _waiting: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def workers(self) -> int:
        """Number of processes."""
        return self.files.container.workers

    @property
    def problem(self) -> str:
        """Why the model cannot answer, "" while one of its processes does."""
        with self._lock:
            return next(iter(self._problems.values())) if len(self._problems) == self.workers else ""

    def start(self, check: Callable[[], None]) -> None:
        """Start the processes and wait until each has loaded the model, or cannot. check: raises to give up."""
        for number in range(self.workers):
            thread = threading.Thread(target=self._keep, args=(number,), name=f"model process {number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        for _ in range(self.workers):
            while not self._decided.acquire(timeout=_POLL_SECONDS):
                check()

    def close(self) -> None:
        """End the processes."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def invoke(
        self, body: bytes, content_type: str = "", accept: str = "", timeout: float | None = None
    ) -> InvocationResult:
        """Return the answer to a request. timeout: seconds, those of the container by default.

        An error is an answer too: 500 with message and traceback of the model's code, 503 where too many requests
        wait, 504 after the timeout.
        """
        seconds = timeout or self.files.container.answer_seconds
        end = time.monotonic() + seconds
        if problem := self.problem:
            return _error(500, problem)
        with self._lock:
            if self._waiting >= _WAITING + self.workers:
                return _error(503, 'Model "model" has no worker to serve inference request. Please use scale workers.')
            self._waiting += 1
        try:
            worker = self._free_worker(end)
            if worker is None:
                return _error(500, problem) if (problem := self.problem) else _error(TIMED_OUT, TIMEOUT_TEXT)
            try:
                result = worker.exchange(body, content_type, accept, max(0.001, end - time.monotonic()))
            except TimeoutError:
                self.log.write(f"A request took longer than {seconds:g} s; its process is replaced.")
                return _error(TIMED_OUT, TIMEOUT_TEXT)
            except WorkerEnded:
                return _error(500, "Worker died.")
            self._free.put(worker)
            return result
        finally:
            with self._lock:
                self._waiting -= 1

    def _free_worker(self, end: float) -> Worker | None:
        """Return a process that is free; None after the time, or where the model cannot be loaded any more."""
        while (left := end - time.monotonic()) > 0 and not self.problem and not self._stopped.is_set():
            try:
                worker = self._free.get(timeout=min(left, 1.0))
            except queue.Empty:
                continue
            if not worker.wait(0.0):
                return worker
        return None

    # The threads that start the processes: with the end of one, the kernel ends what it has started.

    def _keep(self, number: int) -> None:
        delay, starts = _FIRST_DELAY, 0
        is_loaded = False
        while not self._stopped.is_set():
            problem = self._serve(number, starts, is_first=not is_loaded)
            starts += 1
            if problem is None:
                is_loaded, delay = True, _FIRST_DELAY
                continue
            self._note(number, problem)
            if not is_loaded:
                return  # it would fail again: model, code and packages do not change
            self._stopped.wait(delay)
            delay = min(_LONGEST_DELAY, 2 * delay)

    def _serve(self, number: int, starts: int, *, is_first: bool) -> str | None:
        """Run a process to its end; return why the model was not loaded, None where it was."""
        try:
            worker = self._start(self._work(number, starts))
        except (OSError, ValueError) as error:  # ValueError: a character that no variable can hold
            return f"The process of the model cannot be started: {error}"
        try:
            problem = worker.wait_ready(self.files.container.start_seconds, self._stopped.is_set)
            if problem:
                return problem
            with self._lock:
                self._problems.pop(number, None)
            self._free.put(worker)
            if is_first:
                self._decided.release()
            while not worker.wait(_WATCH_SECONDS) and not self._stopped.is_set():
                pass
        finally:
            ending = worker.end()
            with suppress(OSError):  # a process that was killed may still be there; it is removed with the endpoint
                remove_work(self._work(number, starts))
        if not self._stopped.is_set():
            self.log.write(f"Worker died ({ending}); another process is started.")
        return None

    def _work(self, number: int, starts: int) -> Path:
        """Return the folder for the mounts of a process."""
        return self.files.folder.work / "workers" / f"{number}-{starts}"

    def _start(self, work: Path) -> Worker:
        files = self.files
        settings = WorkerSettings(
            model=f"{files.ml}/model",
            code=files.code,
            program=files.program,
            is_bundle=files.is_bundle,
            is_algorithm=bool(built_in_algorithm(files.container.image)),
            threads=max(1, cores() // self.workers),
        )
        python = product_python() if files.is_bundle else str(files.folder.python / "bin" / "python")
        # Of the model or the user where they say so, else a share of the cores.
        chosen = {**files.service.job_environment, **files.container.environment}.get("OMP_NUM_THREADS")
        variables = {**files.variables, "OMP_NUM_THREADS": chosen or str(settings.threads)}
        (work / "mounts").mkdir(parents=True, exist_ok=True)
        launch = {
            "environment": variables, "folder": "/", "work": work, "ml": files.folder.ml, "way": self.support.way,
            "no_network": files.container.no_network,
        }  # fmt: skip
        return Worker.start(python, settings, launch, self.log)

    def _note(self, number: int, problem: str) -> None:
        if self._stopped.is_set():
            return
        with self._lock:
            is_first = number not in self._problems
            self._problems[number] = problem
        self.log.write("The model cannot be loaded. Every invocation is answered with the reason:", problem)
        if is_first:
            self._decided.release()


@contextmanager
def model_server(
    path: Path,
    user: UserEnvironment,
    *,
    check: Callable[[], None] = lambda: None,
    support: NamespaceSupport | None = None,
) -> Iterator[ModelServer]:
    """Serve the model of a folder within the block.

    The folder has request.json with PrimaryContainer (`ContainerDefinition.of`) and service.json as those of jobs do;
    lines go to its log.txt. check: called often before the model is loaded; raises to give up.
    support: how the model sees /opt/ml, found out where it is None.
    Raises JobFailed where model, code or packages cannot be had; where the code of the model fails, see `problem`.
    """
    folder = JobFolder(path)
    request, service = folder.read_request(), folder.read_service()
    try:
        container = ContainerDefinition.of(request)
        _ = container.workers, container.answer_seconds
    except BadValue as error:
        raise client_error(str(error)) from None
    support = _private(support or namespace_support(path / "namespaces"))
    if container.no_network and not support.no_network:
        raise client_error(f"EnableNetworkIsolation is not possible on this machine: {support.reason}.")
    with closing(JobLog(folder.log)) as log:
        files = ModelFiles(
            folder=folder,
            container=container,
            service=service,
            user=user,
            ml=support.ml or str(folder.ml),
            write_line=log.write,
            check=check,
        )
        try:
            with closing(objects_of(service, folder)) as objects:
                files.prepare(objects)
        except (ClearsightError, S3Error, OSError) as error:
            raise client_error(str(error)) from None
        server = ModelServer(files, support, log)
        try:
            server.start(check)
            yield server
        finally:
            server.close()


def _private(support: NamespaceSupport) -> NamespaceSupport:
    """Return the way for a model. The link /opt/ml belongs to one job at a time, and models run for days."""
    return NamespaceSupport("environment", support.reason) if support.way == "symlink" else support


def _error(status: int, text: str) -> InvocationResult:
    return InvocationResult(status, text.encode(errors="replace"), _TEXT)
