"""CapturedRequests: data capture of endpoints, from memory to objects. No request waits for it, and none fails by it.

Keys and lines are those of SageMaker: PREFIX/ENDPOINT/VARIANT/yyyy/mm/dd/hh/mm-ss-ms-ID.jsonl, in UTC.
"""

from __future__ import annotations

import logging
import random
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from clearsight.serving.data_capture import CapturedBody, CaptureOptions, captured_line
from clearsight_sagemaker.training.failure import JobFailed
from clearsight_sagemaker.training.objects import STORE_ERRORS, Objects, join_uri

LOG = logging.getLogger("clearsight.sagemaker")

_MOST_BYTES = 64 << 20  # that wait to be written; more are left out


@dataclass(slots=True)
class CapturedRequests:
    """Captured requests of all endpoints; for many threads. draws: decide which requests are captured."""

    objects: Objects
    draws: random.Random = field(default_factory=random.Random)
    _lines: dict[str, list[str]] = field(default_factory=dict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def draw(self, config: Mapping[str, Any]) -> bool:
        """Return True for a request to capture. config: DataCaptureConfig, {} for none."""
        if not config or not config.get("EnableCapture", True):
            return False
        return bool(100 * self.draws.random() < config["InitialSamplingPercentage"])

    def add(
        self,
        config: Mapping[str, Any],
        place: tuple[str, str],
        bodies: tuple[CapturedBody, CapturedBody],
        inference_id: str = "",
    ) -> None:
        """Add a request. place: names of endpoint and variant.  bodies: of the request and of its response."""
        line = captured_line(_options(config), *bodies, inference_id=inference_id)
        prefix = join_uri(config["DestinationS3Uri"], *place)
        with self._lock:
            is_full = self._bytes + len(line) > _MOST_BYTES
            if not is_full:
                self._bytes += len(line)
                self._lines.setdefault(prefix, []).append(line)
        if is_full:
            LOG.warning(
                "data capture of %s: requests come faster than they can be written; some are left out", place[0]
            )

    def flush(self) -> None:
        """Write what was added; return when it is there, also what another thread has begun to write.

        What cannot be written is left out, and the log says why.
        """
        with self._writing:
            with self._lock:
                lines, self._lines = self._lines, {}
                self._bytes = 0
            self._write(lines)

    def _write(self, lines: Mapping[str, Sequence[str]]) -> None:
        for prefix, texts in lines.items():
            now = datetime.now(UTC)
            name = f"{now:%M-%S}-{now.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
            uri = join_uri(prefix, f"{now:%Y/%m/%d/%H}", name)
            try:
                with self.objects.writing(uri) as file:
                    file.write("".join(f"{text}\n" for text in texts).encode())
            except (*STORE_ERRORS, JobFailed) as error:
                LOG.warning("data capture: %d requests cannot be written to %s (%s)", len(texts), prefix, error)


def _options(config: Mapping[str, Any]) -> CaptureOptions:
    modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
    types = config.get("CaptureContentTypeHeader") or {}
    both = "InputAndOutput" in modes
    defaults = CaptureOptions(folder="")
    return CaptureOptions(
        folder="",
        inputs=both or "Input" in modes,
        outputs=both or "Output" in modes,
        csv_types=tuple(types.get("CsvContentTypes", defaults.csv_types)),
        json_types=tuple(types.get("JsonContentTypes", defaults.json_types)),
    )
