"""How an error leaves the endpoint: its status, and one sentence as JSON."""

from __future__ import annotations

import logging

from starlette.responses import JSONResponse

from clearsight.core.errors import (
    BadChoice,
    BadImage,
    BadShape,
    BadValue,
    ClearsightError,
    EmptyInput,
    TooLarge,
    UnsupportedType,
)

LOG = logging.getLogger("clearsight.serving")

OUR_FAULT = "The endpoint failed to answer; its log says why."


class NotAcceptable(ClearsightError):
    """An Accept header that names nothing the endpoint can write."""


class SlowBody(ClearsightError):
    """A body that did not arrive in time."""


class Busy(ClearsightError):
    """More work than may wait."""


# The first kind that fits decides; a kind that is not here is the endpoint's own fault.
STATUSES: dict[type[ClearsightError], int] = {
    BadImage: 400,
    BadValue: 400,
    BadShape: 400,
    BadChoice: 400,
    EmptyInput: 400,
    NotAcceptable: 406,
    SlowBody: 408,
    TooLarge: 413,
    UnsupportedType: 415,
    Busy: 503,
}

# The rest of such a body is not worth reading, or there is nothing to read it for.
_CLOSING = {408, 413}


def busy() -> Busy:
    """The one wording for a queue that is full."""
    return Busy("endpoint", "too many images are waiting", fix="Try again in a second.")


def error_response(error: Exception) -> JSONResponse:
    """The response to a request that failed with `error`; the traceback of a failure of ours goes to the log alone."""
    status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 500)
    if status == 500:
        LOG.error("a request failed", exc_info=error)
        return JSONResponse({"error": OUR_FAULT}, status)
    headers = {"Connection": "close"} if status in _CLOSING else {}
    if status == 503:
        headers["Retry-After"] = "1"
    return JSONResponse({"error": str(error)}, status, headers)
