"""FixedModel: a served model for tests, which gives the same classes to every request."""

from __future__ import annotations

import asyncio

from clearsight.core.errors import BadValue
from clearsight.serving.request_body import Limits
from clearsight.serving.served_model import ModelDescription, ModelRequest, ModelResponse


class FixedModel:
    """Responds with its name as the body. classes: of every request.  gate: that a response waits for."""

    def __init__(
        self, name: str, classes: tuple[int, ...] = (0,), gate: asyncio.Event | None = None, problem: str = ""
    ) -> None:
        self.name, self.classes, self.gate, self._problem = name, classes, gate, problem
        self.requests: list[ModelRequest] = []
        self.closed = False

    @property
    def description(self) -> ModelDescription:
        return ModelDescription(model=self.name)

    @property
    def most_images(self) -> int | None:
        return None

    async def respond(self, request: ModelRequest, limits: Limits) -> ModelResponse:
        self.requests.append(request)
        if self.gate is not None:
            await self.gate.wait()
        if request.body == b"bad":
            raise BadValue("body", "it is bad")
        confidences = (0.5,) * len(self.classes)
        return ModelResponse(
            body=self.name.encode(), media_type="text/plain", classes=self.classes, confidences=confidences
        )

    async def problem(self) -> str:
        return self._problem

    def close(self) -> None:
        self.closed = True
