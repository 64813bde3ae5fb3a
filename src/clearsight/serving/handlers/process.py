"""Process of a model with code of its own: answers the requests that an endpoint's worker sends over a socket.

python -m clearsight.serving.handlers.process SOCKET MODEL_DIR ENTRY_POINT THREADS

The code finds the variables of SageMaker's containers. It runs one request at a time, ends when the worker closes the
socket, and prints into the endpoint's log.
"""

from __future__ import annotations

import os
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from clearsight.core.guard import Guard
from clearsight.serving.handlers.frames import frame, receive
from clearsight.serving.handlers.functions import HandlerFunctions, UnsupportedFormat


def main(words: list[str]) -> int:
    """Load the model and answer until the socket ends; return the exit code."""
    with socket.socket(fileno=int(words[0])) as connection:
        guard = Guard(f"code/{words[2]}")  # it logs the traceback
        loaded = guard.run(_load, Path(words[1]), *words[2:])
        if loaded is None:
            connection.sendall(frame({"failed": _last_line(guard.failure)}))
            return 1
        functions, model = loaded
        connection.sendall(frame({"ready": True}))
        while True:
            try:
                head, body = receive(connection)
            except EOFError:
                return 0
            guard.reset()
            response = guard.run(functions.respond, model, body, head["content_type"], head["accept"])
            if response is not None:
                connection.sendall(frame({"status": 200, "content_type": response[1]}, response[0]))
            else:
                status = 415 if isinstance(guard.failure, UnsupportedFormat) else 500
                connection.sendall(frame({"status": status, "error": _last_line(guard.failure)}))


def _load(folder: Path, entry_point: str, threads: str) -> tuple[HandlerFunctions, Any]:
    # A setting of the user counts.
    os.environ.setdefault("OMP_NUM_THREADS", threads)
    os.environ.update(
        SAGEMAKER_PROGRAM=entry_point, SAGEMAKER_SUBMIT_DIRECTORY=str(folder / "code"), SM_MODEL_DIR=str(folder)
    )
    functions = HandlerFunctions(folder, entry_point)
    return functions, functions.load()


def _last_line(error: Exception | None) -> str:
    """Return the error as the last line of its traceback, with the place in the model's own code."""
    assert error is not None
    if isinstance(error, UnsupportedFormat):
        return str(error)
    lines = traceback.format_exception_only(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return lines[-1].strip()[:2000] + place


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
