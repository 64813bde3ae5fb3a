"""EndpointClient: asks an endpoint for the classes of images, over HTTP."""

from __future__ import annotations

import http.client
import io
import json
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from clearsight.core.errors import BadValue, ClearsightError
from clearsight.core.recipe import Recipe
from clearsight.data.decode import MAX_PIXELS, decode
from clearsight.workflow.prepare.datasets import Progress, quiet
from clearsight.workflow.prepare.inputs import InputImage, input_images
from clearsight.workflow.results.predictions import Prediction, Predictions

SCHEME = "endpoint:"  # begins the name of an endpoint where a run or bundle may stand too
_THREADS = 4  # requests at a time
_SECONDS = 60.0  # for an answer, and for a busy endpoint to become free
_BUSY, _PAUSE = 503, 0.5  # status, and seconds before the next try
_DENIED = (401, 403)


class EndpointUnavailable(ClearsightError):
    """Raised where an endpoint is gone, busy or refuses the token: no image is to blame."""


class EndpointClient:
    """A client of one endpoint, with a connection for each thread that uses it. token: "" for none.

    certificate: file of the endpoint's own certificate, which alone is trusted; "" for plain HTTP.
    """

    def __init__(self, name: str, url: str, token: str = "", certificate: str = "") -> None:
        self.name, self.url, self.token = name, url, token
        self._tls = _tls(certificate) if certificate else None
        self._local = threading.local()
        self._all: list[http.client.HTTPConnection] = []  # an append is atomic

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._all:
            connection.close()

    def classes(self) -> tuple[str, ...]:
        """Return the classes of its model. Raises ClearsightError where it does not answer."""
        return tuple(self._ask("GET", "/", b"", "")["classes"])

    def predict(self, image: InputImage) -> dict[str, float]:
        """Return the probability of each class; raises ClearsightError with the endpoint's own sentence."""
        content = decode(image.read(), max_pixels=MAX_PIXELS) if image.stored else image.read()
        if isinstance(content, bytes):
            response = self._ask("POST", "/invocations", content, "application/octet-stream")
        else:
            file = io.BytesIO()
            np.save(file, np.asarray(content), allow_pickle=False)
            response = self._ask("POST", "/invocations", file.getvalue(), "application/x-npy")
        probabilities: dict[str, float] = response["probabilities"]
        return probabilities

    def _ask(self, method: str, path: str, body: bytes, content_type: str) -> Any:
        headers = {"Accept": "application/json"}
        if content_type:
            headers["Content-Type"] = content_type
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            status, content = self._request_until_free(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            problem = f"it does not answer at {self.url} ({type(error).__name__})"
            raise EndpointUnavailable(f"endpoint {self.name}", problem, fix="See clearsight endpoints.") from None
        try:
            values = json.loads(content)
        except ValueError:  # something else listens there, or a proxy answers for it
            problem = f"what answers at {self.url} is no endpoint (status {status})"
            raise EndpointUnavailable(f"endpoint {self.name}", problem, fix="See clearsight endpoints.") from None
        if status == _BUSY:
            fix = "Try again later, or give it more workers."
            raise EndpointUnavailable(f"endpoint {self.name}", "it is busy", fix=fix)
        if status in _DENIED:
            raise EndpointUnavailable(f"endpoint {self.name}", str(values.get("error", f"status {status}")))
        if status != 200:
            # The endpoint's sentence begins with the same word.
            problem = str(values.get("error", f"status {status}")).removeprefix("image: ").removesuffix(".")
            raise ClearsightError("image", problem)
        return values

    def _request_until_free(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Return status and body of the response; an endpoint whose queue is full is asked again for a minute."""
        end = time.monotonic() + _SECONDS
        while True:
            status, content = self._request(method, path, body, headers)
            if status != _BUSY or time.monotonic() > end:
                return status, content
            time.sleep(_PAUSE)

    def _request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Send a request on the thread's connection; on a new one where the endpoint has closed it in between."""
        for is_last in (False, True):
            connection = getattr(self._local, "connection", None)
            if connection is None:
                parts = urlsplit(self.url)
                host, port = parts.hostname or "", parts.port
                if self._tls is None:
                    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
                else:
                    connection = http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=self._tls)
                self._local.connection = connection
                self._all.append(connection)
            try:
                connection.request(method, urlsplit(self.url).path + path, body, headers)
                response = connection.getresponse()
                return response.status, response.read()
            except (ConnectionError, http.client.BadStatusLine):
                connection.close()
                self._local.connection = None
                if is_last:
                    raise
        raise AssertionError("the second try returns or raises")


def _tls(certificate: str) -> ssl.SSLContext:
    """Return TLS settings that trust one certificate, whatever host it is for: the client knows the address itself."""
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it need not be an authority's
    return context


def predict_remotely(
    client: EndpointClient, images: Any, *, top: int, split: str | None, progress: Progress = quiet, **settings: Any
) -> Predictions:
    """Classify images with an endpoint, as `predict` does with a run or bundle."""
    listed = input_images(images, Recipe().replace(**settings).data, split)
    rows: list[Prediction] = []
    with closing(client), ThreadPoolExecutor(_THREADS) as pool:
        classes = client.classes()
        probabilities = np.full((len(listed), len(classes)), np.nan)
        for place, outcome in enumerate(pool.map(lambda image: remote_outcome(client, image), listed)):
            rows.append(_prediction(listed[place].name, outcome, classes, probabilities[place], top))
            progress("predicting", len(rows), len(listed))
    return Predictions(rows, listed, classes, probabilities)


def endpoint_name(model: str | Path) -> str:
    """Return the name in "endpoint:NAME"; "" for anything else."""
    text = str(model)
    name = text.removeprefix(SCHEME) if text.startswith(SCHEME) else ""
    if text.startswith(SCHEME) and not name:
        raise BadValue(text, "the name of the endpoint is missing", fix="Write it as endpoint:NAME.")
    return name


def remote_outcome(client: EndpointClient, image: InputImage) -> dict[str, float] | str:
    """Return the probabilities, or why there are none."""
    try:
        return client.predict(image)
    except EndpointUnavailable:
        raise
    except ClearsightError as error:
        return error.problem
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def _prediction(
    name: str,
    outcome: dict[str, float] | str,
    classes: tuple[str, ...],
    row: npt.NDArray[np.float64],
    top: int,
) -> Prediction:
    if isinstance(outcome, str):
        return Prediction(path=name, error=outcome)
    row[:] = [outcome[label] for label in classes]
    order = np.argsort(-row, kind="stable")[:top]
    return Prediction(path=name, top=tuple((classes[index], float(row[index])) for index in order))
