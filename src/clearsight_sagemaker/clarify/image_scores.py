"""ImageScores: scores that a model gives to images, through the content types of its server. N images, C classes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import jmespath
import jmespath.exceptions
import numpy as np
import numpy.typing as npt
from PIL import Image

from clearsight_sagemaker.clarify.analysis_config import PredictorConfig
from clearsight_sagemaker.hosting.inference_server import InferenceServer
from clearsight_sagemaker.training.failure import client_error

_MOST_IMAGES, _MOST_BYTES = 64, 5 << 20  # of a request; an endpoint takes 6 MB
_QUALITY = 95  # of JPEG
_SHOWN = 300  # characters of a response in a failure reason
_SECONDS = 60.0


class ImageScores:
    """Scores of a model for images."""

    def __init__(self, server: InferenceServer, config: PredictorConfig) -> None:
        self._server, self._config = server, config

    def of(self, images: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]:
        """Return the scores of images of one size, (N, C). images: each (H, W, 3), taken as they are needed.

        Raises JobFailed for a response that holds no scores.
        """
        rows = [row for body, count in self._bodies(images) for row in self._scores(body, count)]
        if len({len(row) for row in rows}) != 1:
            raise client_error("the model gives different numbers of scores for different images.")
        scores = np.array(rows, dtype=np.float64)
        if not np.isfinite(scores).all():
            raise client_error("the model gives scores that are not finite.")
        return scores

    def _bodies(self, images: Iterable[npt.NDArray[np.uint8]]) -> Iterator[tuple[bytes, int]]:
        iterator = iter(images)
        if self._config.content_type != "application/x-npy":
            for image in iterator:
                yield _encoded(image, self._config.content_type), 1
            return
        for first in iterator:
            size = min(_MOST_IMAGES, max(1, _MOST_BYTES // first.nbytes))
            batch = np.stack([*chain([first], islice(iterator, size - 1))])
            buffer = io.BytesIO()
            np.save(buffer, batch, allow_pickle=False)
            yield buffer.getvalue(), len(batch)

    def _scores(self, body: bytes, count: int) -> list[list[float]]:
        config = self._config
        response = self._server.invoke(body, config.content_type, config.accept, _SECONDS)
        shown = response.body[:_SHOWN].decode(errors="replace").strip()
        if response.status != 200:
            raise client_error(f"the model responds with status {response.status}: {shown}")
        try:
            rows = _rows(_decoded(response.body, response.content_type, config.scores), config.labels)
        except (ValueError, TypeError, RecursionError, jmespath.exceptions.JMESPathError) as error:
            raise client_error(f"the response of the model holds no scores ({error}): {shown}") from None
        if len(rows) != count:
            raise client_error(f"the model responds with {len(rows)} rows of scores for {count} images.")
        return rows


def _encoded(image: npt.NDArray[np.uint8], content_type: str) -> bytes:
    buffer = io.BytesIO()
    if content_type == "image/png":
        Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    else:
        Image.fromarray(image).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _decoded(body: bytes, content_type: str, path: str) -> Any:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-npy":
        return np.lib.format.read_array(io.BytesIO(body), allow_pickle=False).tolist()
    text = body.decode()
    if kind == "text/csv":
        return [[float(value) for value in row] for row in csv.reader(io.StringIO(text)) if row]
    if kind in ("application/jsonlines", "application/x-jsonlines"):
        values = [json.loads(line) for line in text.splitlines() if line.strip()]
        return [jmespath.search(path, value) for value in values] if path else values
    value = json.loads(text)
    return jmespath.search(path, value) if path else value


def _rows(value: Any, labels: tuple[str, ...]) -> list[list[float]]:
    """Return rows of scores from a list, a list of lists, or objects with a score for each label."""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ValueError("it is no list")
    if not isinstance(value[0], list | dict):
        value = [value]
    return [_row(row, labels) for row in value]


def _row(row: Any, labels: tuple[str, ...]) -> list[float]:
    if isinstance(row, dict):
        missing = [label for label in labels if label not in row]
        if missing or not labels:
            raise ValueError(f"an object without {', '.join(missing) or 'label_headers'}; set `probability`")
        row = [row[label] for label in labels]
    return [float(score) for score in row]
