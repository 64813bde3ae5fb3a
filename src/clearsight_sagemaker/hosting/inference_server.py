"""InferenceServer: whatever responds to requests for a model, in this process or behind an API."""

from __future__ import annotations

from typing import Protocol


class InferenceResponse(Protocol):
    """Response of a model server."""

    @property
    def status(self) -> int:
        """Status of HTTP."""
        ...

    @property
    def body(self) -> bytes:
        """Scores, in the format of the content type."""
        ...

    @property
    def content_type(self) -> str:
        """Format of the body."""
        ...


class InferenceServer(Protocol):
    """Server of a model."""

    def invoke(self, body: bytes, content_type: str, accept: str, timeout: float, /) -> InferenceResponse:
        """Return the response to a request. timeout: seconds. Raises JobFailed where there is none."""
        ...
