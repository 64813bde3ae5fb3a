"""HandlerModel: a model with code of its own, served by a process that is watched and replaced."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from clearsight.core.errors import BadBundle, ClearsightError, UnsupportedType
from clearsight.serving.error_responses import Busy, ModelCodeError, ModelTimeout, busy
from clearsight.serving.handlers.frames import frame, read, receive
from clearsight.serving.request_body import Limits
from clearsight.serving.served_model import ModelDescription, ModelRequest, ModelResponse

LOG = logging.getLogger("clearsight.serving")

_START_SECONDS = 240.0  # for the model to load, as in SageMaker's containers
_WAITING = 64  # requests that wait for the process
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0  # before a process that does not start is started again, doubled each time
_END_SECONDS = 0.5  # for the process to end by itself
_DEFAULT_ENTRY = "inference.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class HandlerCode:
    """A model's own code. folder: of the model, with code/.  entry_point: file in code/.  python: "" for this one.

    threads: of torch and of OpenMP.
    """

    folder: Path
    entry_point: str
    name: str
    python: str = ""
    threads: int = 1


class HandlerModel:
    """Serves one request at a time by the model's process; for one event loop once it has been started.

    An exception of the code harms its own request alone; a process that ends, or takes
    longer than the limit, is replaced, and the request that it had is answered with an error.
    """

    def __init__(self, code: HandlerCode) -> None:
        self._code = code
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._queue: asyncio.Queue[tuple[ModelRequest, float, asyncio.Future[ModelResponse]]] = asyncio.Queue(_WAITING)
        self._worker: asyncio.Task[None] | None = None
        self._failure = "The model has not been loaded yet."

    @property
    def description(self) -> ModelDescription:
        """Return what the endpoint says of the model."""
        return ModelDescription(model=self._code.name)

    @property
    def most_images(self) -> None:
        """Return None: requests are not counted by images."""
        return None

    def start(self) -> None:
        """Start the process and wait until it has loaded the model.

        Raises BadBundle with the last line of its traceback.
        """
        ours, theirs = socket.socketpair()
        # -u: its prints are lines of the log.
        words = [self._code.python or sys.executable, "-u", "-m", "clearsight.serving.handlers.process"]
        words += [str(theirs.fileno()), str(self._code.folder), self._code.entry_point, str(self._code.threads)]
        try:
            with theirs:
                process = subprocess.Popen(
                    words,
                    cwd=self._code.folder,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
            ours.settimeout(_START_SECONDS)
            problem = _first_frame(ours, process)
        except BaseException:
            ours.close()
            raise
        if problem:
            ours.close()
            process.kill()
            process.wait()
            raise BadBundle(f"code/{self._code.entry_point}", f"the model cannot be loaded: {problem}")
        ours.setblocking(False)
        self._process, self._connection, self._failure = process, ours, ""

    async def respond(self, request: ModelRequest, limits: Limits) -> ModelResponse:
        """Return the response of the model's code.

        Raises ModelCodeError where the code fails, ModelTimeout, UnsupportedType, and Busy for a full queue or while
        the process is started again.
        """
        if self._worker is None:
            self._worker = asyncio.create_task(self._answer_all())
        future: asyncio.Future[ModelResponse] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((request, limits.answer_seconds, future))
        except asyncio.QueueFull:
            raise busy() from None
        try:
            return await asyncio.wait_for(future, 2 * limits.answer_seconds)
        except TimeoutError:
            raise Busy("endpoint", "the model's process had no time for the request", fix="Try again later.") from None

    async def problem(self) -> str:
        """Return why the model cannot answer; "" while its process runs."""
        if self._process is not None and self._process.poll() is not None and not self._failure:
            return "The model's process has ended; it is started again with the next request."
        return self._failure

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.cancel()
        self._end_process()

    # The task that owns the process

    async def _answer_all(self) -> None:
        delay = _FIRST_DELAY
        while True:
            request, seconds, future = await self._queue.get()
            if future.done():  # the client has left
                continue
            if self._connection is None or (self._process is not None and self._process.poll() is not None):
                try:
                    self._end_process()
                    await asyncio.get_running_loop().run_in_executor(None, self.start)
                    delay = _FIRST_DELAY
                except ClearsightError as error:
                    self._failure = str(error)
                    LOG.error("%s", error)
                    _fail(future, Busy("endpoint", f"its model cannot be loaded: {error.problem}", fix=""))
                    await asyncio.sleep(delay)
                    delay = min(_LONGEST_DELAY, 2 * delay)
                    continue
            try:
                response = await asyncio.wait_for(self._exchange(request), seconds)
            except TimeoutError:
                self._end_process()
                problem = f"the model's code did not answer within {seconds:g} s; its process is started again"
                _fail(future, ModelTimeout("endpoint", problem))
            except (OSError, ValueError, asyncio.IncompleteReadError):
                reason = self._end_process()
                _fail(future, ModelCodeError("endpoint", f"the model's process ended ({reason}) with this request"))
            except ClearsightError as error:
                _fail(future, error)
            else:
                if not future.done():
                    future.set_result(response)

    async def _exchange(self, request: ModelRequest) -> ModelResponse:
        if self._streams is None:
            self._streams = await asyncio.open_connection(sock=self._connection)
        reader, writer = self._streams
        writer.write(frame({"content_type": request.content_type or "", "accept": request.accept}, request.body))
        await writer.drain()
        head, body = await read(reader)
        if head["status"] == 415:
            raise UnsupportedType("body", head["error"].rstrip("."))
        if head["status"] != 200:
            raise ModelCodeError(f"code/{self._code.entry_point}", head["error"])
        return ModelResponse(body=body, media_type=head["content_type"])

    def _end_process(self) -> str:
        """Close the socket, at which the process ends, or kill it; return how it ended."""
        if self._streams is not None:
            self._streams[1].transport.abort()
        elif self._connection is not None:
            self._connection.close()
        self._connection, self._streams = None, None
        process, self._process = self._process, None
        if process is None:
            return "it was not running"
        try:
            code = process.wait(_END_SECONDS)  # it may be about to end by itself, and its exit code says why
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def entry_point(folder: Path, name: str = "") -> str:
    """Return the file in code/ of a model's folder that has its functions: `name`, inference.py, or the only one.

    Raises BadBundle where there is none, or several.
    """
    files = sorted(path.name for path in (folder / "code").glob("*.py"))
    chosen = name or (_DEFAULT_ENTRY if _DEFAULT_ENTRY in files else files[0] if len(files) == 1 else "")
    if chosen in files:
        return chosen
    if chosen:
        problem = f"its folder code/ has no {chosen}"
    else:
        problem = "its folder code/ has several files and none is inference.py" if files else "it has no code/*.py"
    raise BadBundle(str(folder), problem, fix="Name the file with --entry-point." if files else "")


def _first_frame(connection: socket.socket, process: subprocess.Popen[bytes]) -> str:
    """Return "" once the process says that its model is loaded, else why it is not."""
    try:
        head, _ = receive(connection)
    except TimeoutError:
        return f"it took more than {_START_SECONDS:g} s"
    except (EOFError, OSError):
        code = process.wait()
        return f"its process ended (signal {-code})" if code < 0 else f"its process ended (exit code {code})"
    return str(head.get("failed", ""))


def _fail(future: asyncio.Future[ModelResponse], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
