"""ServiceError: a request that a service refuses, and its form in JSON and in XML."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from starlette.responses import Response


class ServiceError(Exception):
    """Raised for a request that a service refuses.

    code: as clients know it, "ValidationException".  message: a sentence.  status: of HTTP; clients repeat those of 500
    and above.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def validation_error(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


def json_error(error: ServiceError) -> Response:
    """Return the error as services that speak JSON write it."""
    body = json.dumps({"__type": error.code, "Message": error.message})
    # The header is for REST-JSON and for clients that read no bodies.
    headers = {"x-amzn-ErrorType": error.code}
    return Response(body, error.status, headers, media_type="application/x-amz-json-1.1")


def xml_error(error: ServiceError, identity: str, namespace: str = "") -> Response:
    """Return the error as services that speak the query protocol write it. identity: of the request."""
    kind = "Receiver" if error.status >= 500 else "Sender"
    attribute = f' xmlns="{escape(namespace)}"' if namespace else ""
    text = (
        f"<ErrorResponse{attribute}><Error><Type>{kind}</Type><Code>{escape(error.code)}</Code>"
        f"<Message>{escape(error.message)}</Message></Error><RequestId>{identity}</RequestId></ErrorResponse>"
    )
    return Response(text, error.status, media_type="text/xml")
