"""Limits: how much a client may ask of the endpoint."""

from __future__ import annotations

from dataclasses import dataclass

from clearsight.core.errors import BadValue


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What is refused at the door; every value must be positive (BadValue).

    The size of a single image in pixels is the business of whoever prepares it.
    """

    body_bytes: int = 20 << 20  # of one request
    held_bytes: int = 256 << 20  # of all requests that are being read or answered
    body_seconds: float = 30.0  # from the head of a request to the last byte of its body
    images: int = 64  # in one request

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise BadValue(f"limit {name} {getattr(self, name)!r}", "it must be above 0")
        if self.held_bytes < self.body_bytes:
            raise BadValue(f"limit held_bytes {self.held_bytes}", f"it must be at least body_bytes ({self.body_bytes})")
