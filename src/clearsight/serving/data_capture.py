"""DataCapture: requests and responses of an endpoint, or a sample of them, written into a folder as JSON lines.

Folders, file names and lines are those of SageMaker's data capture:
FOLDER/ENDPOINT/VARIANT/yyyy/mm/dd/hh/mm-ss-ms-ID.jsonl, in UTC.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import queue
import random
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clearsight.serving.middleware import is_invocation
from clearsight.serving.negotiation import media_type
from clearsight.serving.variants import VARIANT_INVOKED

LOG = logging.getLogger("clearsight.serving")

_WAITING_BYTES = 64 << 20  # of captured requests that wait to be written; more are left out
_FILE_SECONDS = 60.0  # before another file is begun
_LOG_SECONDS = 60.0  # between lines about requests that could not be captured
_INFERENCE_ID = "x-amzn-sagemaker-inference-id"
_JSON = ("application/json", "application/jsonlines", "application/x-jsonlines")


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptureOptions:
    """Options of data capture. share: of the requests, above 0 to 1.  inputs, outputs: bodies that are written.

    csv_types, json_types: media types whose bodies are written as text; all others are base64.
    """

    folder: str
    share: float = 1.0
    inputs: bool = True
    outputs: bool = True
    csv_types: tuple[str, ...] = ("text/csv",)
    json_types: tuple[str, ...] = _JSON


@dataclass(frozen=True, slots=True)
class CapturedBody:
    """A body and its Content-Type."""

    content_type: str
    body: bytes


class DataCapture:
    """Writes captured requests from a thread of its own, so that no response waits for a disk.

    variant: of requests whose response names none.  draws: decide which requests are captured.
    """

    def __init__(
        self, options: CaptureOptions, endpoint: str, variant: str = "main", draws: random.Random | None = None
    ) -> None:
        self.options, self._endpoint, self._variant = options, endpoint, variant
        self._draws = draws or random.Random()
        self._queue: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._waiting, self._lock = 0, threading.Lock()
        self._files: dict[str, tuple[float, IO[str]]] = {}
        self._quiet_until = 0.0
        self._thread = threading.Thread(target=self._write_all, name="clearsight-capture", daemon=True)
        self._thread.start()

    def draw(self) -> bool:
        """Return True for a request to capture."""
        return self._draws.random() < self.options.share

    def add(self, request: CapturedBody, response: CapturedBody, *, variant: str = "", inference_id: str = "") -> None:
        """Queue a request with its response; with a full queue it is left out, and the log says so."""
        line = captured_line(self.options, request, response, inference_id=inference_id)
        with self._lock:
            is_full = self._waiting + len(line) > _WAITING_BYTES
            self._waiting += 0 if is_full else len(line)
        if is_full:
            self._say("requests come faster than they can be written; some are not captured")
        else:
            self._queue.put((variant or self._variant, line))

    def close(self) -> None:
        """Write what is queued, and stop."""
        self._queue.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                self._write(*item)
            except OSError as error:  # a full disk must not end the endpoint
                self._say(f"a request could not be captured ({error.strerror})")
                self._close_files()
            with self._lock:
                self._waiting -= len(item[1])
        self._close_files()

    def _write(self, variant: str, line: str) -> None:
        opened_at, file = self._files.get(variant, (0.0, None))
        if file is None or time.monotonic() - opened_at > _FILE_SECONDS:
            if file is not None:
                file.close()
            now = datetime.now(UTC)
            folder = Path(self.options.folder, self._endpoint, variant, now.strftime("%Y/%m/%d/%H"))
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{now:%M-%S}-{now.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
            file = (folder / name).open("w", encoding="utf-8")
            self._files[variant] = (time.monotonic(), file)
        file.write(line + "\n")
        file.flush()

    def _close_files(self) -> None:
        for _, file in self._files.values():
            with contextlib.suppress(OSError):  # what it could not write is reported already
                file.close()
        self._files.clear()

    def _say(self, sentence: str) -> None:
        if (now := time.monotonic()) >= self._quiet_until:
            self._quiet_until = now + _LOG_SECONDS
            LOG.warning("data capture: %s", sentence)


def captured_line(
    options: CaptureOptions, request: CapturedBody, response: CapturedBody, *, inference_id: str = ""
) -> str:
    """Return a line of a file of captured requests, for a request that has its response now."""
    data: dict[str, Any] = {}
    if options.inputs:
        data["endpointInput"] = _encoded(options, request, "INPUT")
    if options.outputs:
        data["endpointOutput"] = _encoded(options, response, "OUTPUT")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {"eventId": str(uuid.uuid4()), "inferenceTime": now}
    if inference_id:
        metadata["inferenceId"] = inference_id
    return json.dumps({"captureData": data, "eventMetadata": metadata, "eventVersion": "0"})


def _encoded(options: CaptureOptions, captured: CapturedBody, mode: str) -> dict[str, str]:
    kind = media_type(captured.content_type)
    encoding = "CSV" if kind in options.csv_types else "JSON" if kind in options.json_types else "BASE64"
    try:
        data = base64.b64encode(captured.body).decode() if encoding == "BASE64" else captured.body.decode()
    except UnicodeDecodeError:
        encoding, data = "BASE64", base64.b64encode(captured.body).decode()
    return {"observedContentType": captured.content_type, "mode": mode, "data": data, "encoding": encoding}


class CaptureMiddleware:
    """ASGI middleware: gives successful requests and their responses to a DataCapture."""

    def __init__(self, app: ASGIApp, capture: DataCapture) -> None:
        self.app, self._capture = app, capture

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_invocation(scope) or not self._capture.draw():
            await self.app(scope, receive, send)
            return
        received, sent = bytearray(), bytearray()
        status, headers = 0, Headers()

        async def noted_receive() -> Message:
            message = await receive()
            received.extend(message.get("body", b""))
            return message

        async def noted_send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], Headers(raw=message["headers"])
            sent.extend(message.get("body", b""))
            await send(message)

        await self.app(scope, noted_receive, noted_send)
        if status != 200:
            return
        asked = Headers(scope=scope)
        self._capture.add(
            CapturedBody(asked.get("content-type", ""), bytes(received)),
            CapturedBody(headers.get("content-type", ""), bytes(sent)),
            variant=headers.get(VARIANT_INVOKED, ""),
            inference_id=asked.get(_INFERENCE_ID, "")[:64],
        )
