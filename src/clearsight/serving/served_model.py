"""ServedModel: what an endpoint serves, whether a bundle, a model with code of its own, or several variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from clearsight.serving.request_body import Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRequest:
    """A request for predictions. content_type: None for none.  accept: "" for any.  variant: "" for any."""

    body: bytes
    content_type: str | None = None
    accept: str = ""
    variant: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelResponse:
    """Response to a request. classes, confidences: predicted class of each image, and its probability, where known."""

    body: bytes
    media_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[int, ...] = ()
    confidences: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDescription:
    """Description of a served model. classes: () where they are not known.  image_size: pixels of a side, 0 likewise.

    reads, writes: media types of requests and responses, () for whatever the model's own code takes.
    """

    model: str
    classes: tuple[str, ...] = ()
    image_size: int = 0
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


class ServedModel(Protocol):
    """A model behind an endpoint; for one event loop."""

    @property
    def description(self) -> ModelDescription:
        """Return what the endpoint says of it."""
        ...

    @property
    def most_images(self) -> int | None:
        """Return how many images of one request can wait together; None where they are not counted."""
        ...

    async def respond(self, request: ModelRequest, limits: Limits) -> ModelResponse:
        """Return the response; raises ClearsightError for a bad request, Busy for a full queue."""
        ...

    async def problem(self) -> str:
        """Return why it cannot answer; "" once it can."""
        ...

    def close(self) -> None:
        """Stop its threads and processes."""
        ...
