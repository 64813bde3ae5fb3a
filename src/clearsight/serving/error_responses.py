"""Error responses of the endpoint: a status, and one sentence as JSON."""

from __future__ import annotations

import logging

from starlette.responses import JSONResponse

from clearsight.core import errors
from clearsight.core.errors import ClearsightError

LOG = logging.getLogger("clearsight.serving")

INTERNAL_ERROR = "The endpoint failed to answer; its log has the reason."


class NotAcceptable(ClearsightError):
    """Raised for an Accept header without a media type that the endpoint writes."""


class SlowBody(ClearsightError):
    """Raised for a body that did not arrive in time."""


class Busy(ClearsightError):
    """Raised when the queue is full."""


class ModelCodeError(ClearsightError):
    """Raised where the code that comes with a model fails; it has logged its traceback."""


class ModelTimeout(ModelCodeError):
    """Raised where the code that comes with a model takes too long."""


_BAD_REQUESTS = (errors.BadImage, errors.BadValue, errors.BadShape, errors.BadChoice, errors.EmptyInput)
# The first kind that matches decides; any other error is the endpoint's own: status 500.
STATUSES: dict[type[ClearsightError], int] = {
    **dict.fromkeys(_BAD_REQUESTS, 400),
    NotAcceptable: 406,
    SlowBody: 408,
    errors.TooLarge: 413,
    errors.UnsupportedType: 415,
    Busy: 503,
    ModelTimeout: 504,
    ModelCodeError: 500,
}

# The connection is closed after these: the rest of the body was not read.
_CLOSING = {408, 413}


def busy() -> Busy:
    """Return the error for a full queue, worded once."""
    return Busy("endpoint", "too many images are waiting", fix="Try again in a second.")


def status_of(error: BaseException) -> int:
    """Return the status of the response to a request that failed with `error`."""
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 500)


def error_response(error: Exception) -> JSONResponse:
    """Return the response to a request that failed with `error`; a traceback goes to the log alone."""
    status = status_of(error)
    if isinstance(error, ModelCodeError):
        return JSONResponse({"error": str(error)}, status)
    if status == 500:
        LOG.error("a request failed", exc_info=error)
        return JSONResponse({"error": INTERNAL_ERROR}, status)  # no detail: it may name files or code
    headers = {"Connection": "close"} if status in _CLOSING else {}
    if status == 503:
        headers["Retry-After"] = "1"
    return JSONResponse({"error": str(error)}, status, headers)
