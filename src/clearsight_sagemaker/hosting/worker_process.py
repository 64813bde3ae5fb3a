"""Process of a model: answers the requests that its server sends over a socket, one at a time.

python -P -u worker_process.py SETTINGS, where SETTINGS is a JSON object of `WorkerSettings`. It runs in the Python of
the model, inside of its /opt/ml: as a script, because clearsight need not be among the packages of that Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol


class Functions(Protocol):
    """Functions of a model."""

    def load(self) -> Any:
        """Return the model."""
        ...

    def respond(self, model: Any, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """Return body and media type of the response to a request."""
        ...


class BundleFunctions:
    """Functions of a model that clearsight has written: its own serving code, without a script."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder, self._threads = folder, threads

    def load(self) -> Any:
        """Return a predictor that has classified a test image."""
        from clearsight.core.bundle import Bundle
        from clearsight.workflow.predictors import open_predictor

        predictor = open_predictor(Bundle.open(self._folder), threads=self._threads)
        predictor.canary()
        return predictor

    def respond(self, model: Any, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """Return the probabilities of the images in a request."""
        from clearsight.workflow.inference import input_fn, output_fn, predict_fn

        return output_fn(predict_fn(input_fn(body, content_type), model), accept)


class AlgorithmFunctions:
    """Functions of a model of the built-in image-classification algorithm: a list of probabilities for an image."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder, self._threads = folder, threads

    def load(self) -> Any:
        """Return a classifier that has classified a test image."""
        from clearsight_sagemaker.algorithms.image_classification.responses import ImageClassifier

        classifier = ImageClassifier.open(self._folder, threads=self._threads)
        classifier.predictor.canary()
        return classifier

    def respond(self, model: Any, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """Return the probabilities of the image in a request."""
        response: tuple[bytes, str] = model.respond(body, content_type, accept)
        return response


@contextlib.contextmanager
def _importable(source: str) -> Iterator[None]:
    """Find clearsight in the folder `source` within the block, and nothing else there after it."""
    if source in sys.path:
        yield
        return
    sys.path.insert(0, source)
    try:
        yield
    finally:
        sys.path.remove(source)


def _functions(settings: dict[str, Any]) -> Functions:
    folder = Path(settings["model"])
    if settings["is_algorithm"]:
        return AlgorithmFunctions(folder, settings["threads"])
    if settings["is_bundle"]:
        return BundleFunctions(folder, settings["threads"])
    from clearsight.serving.handlers.functions import HandlerFunctions

    return HandlerFunctions(folder, settings["program"], Path(settings["code"]))


def _load(settings: dict[str, Any]) -> tuple[Functions, Any]:
    os.chdir(settings["model"])  # as in TorchServe, whose processes begin in the folder of the model
    functions = _functions(settings)
    return functions, functions.load()


def main(words: list[str]) -> int:
    """Load the model and answer until the socket ends; return the exit code."""
    settings = json.loads(words[0])
    sys.argv[1:] = []  # the code of the model may read it
    with _importable(settings["source"]):
        from clearsight.core.errors import ClearsightError
        from clearsight.core.guard import Guard
        from clearsight.serving.error_responses import status_of
        from clearsight.serving.handlers.frames import frame, receive

        if settings["is_algorithm"]:
            import clearsight_sagemaker.algorithms.image_classification.responses  # noqa: F401 - found here alone
    with socket.socket(fileno=settings["socket"]) as connection:
        guard = Guard("the model", report=lambda _: None)
        loaded = guard.run(_load, settings)
        if loaded is None:
            text = _traceback(guard.failure)
            _print(text)
            connection.sendall(frame({"failed": text}))
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
                continue
            error = guard.failure
            if settings["is_bundle"] and isinstance(error, ClearsightError):
                body, status = str(error).encode(), status_of(error)
            else:
                _print(_traceback(error))
                body, status = f"{error}\n{_traceback(error)}".encode(errors="replace"), 500
            connection.sendall(frame({"status": status, "content_type": "text/plain"}, body))


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _traceback(error: Exception | None) -> str:
    """Return the traceback without the frames of this program."""
    assert error is not None
    found: Any = error.__traceback__
    while found is not None and found.tb_next is not None and _is_own(found.tb_frame.f_code.co_filename):
        found = found.tb_next
    return "".join(traceback.format_exception(type(error), error, found)).rstrip()


def _is_own(path: str) -> bool:
    return path == __file__ or path.endswith(("clearsight/core/guard.py", "clearsight/serving/handlers/functions.py"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
