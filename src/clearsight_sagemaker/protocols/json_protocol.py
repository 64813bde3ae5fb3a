"""AWS JSON 1.0 and 1.1: parameters in a JSON object, the operation in the header X-Amz-Target."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from clearsight_sagemaker.protocols.errors import ServiceError


def read_parameters(body: bytes) -> dict[str, Any]:
    """Return the parameters of a request; raises ServiceError for a body that is no JSON object."""
    try:
        parameters = json.loads(body or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ServiceError("SerializationException", f"The request body is not JSON ({error}).") from None
    if not isinstance(parameters, dict):
        raise ServiceError("SerializationException", "The request body is not a JSON object.")
    return {name: value for name, value in parameters.items() if value is not None}


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def json_response(result: Mapping[str, Any] | None, shape: Any, version: str) -> Response:
    """Return a result. shape: of the output, None for an operation without one.

    version: of the protocol, "1.1", or "" for REST-JSON.
    """
    media_type = f"application/x-amz-json-{version}" if version else "application/json"
    if shape is None:
        return Response(b"", media_type=media_type)
    body = json.dumps(plain_result(dict(result or {}), shape), allow_nan=False, separators=(",", ":"))
    return Response(body, media_type=media_type)


def seconds_of(parameters: Mapping[str, Any], name: str) -> float | None:
    """Return a time, which is a number or text, in seconds since 1970; None where it is absent."""
    value = parameters.get(name)
    if value is None or isinstance(value, int | float):
        return value
    from botocore.utils import parse_timestamp

    try:
        return float(parse_timestamp(value).timestamp())
    except ValueError:
        raise ServiceError("SerializationException", f"{name} {value!r} is not a time.") from None


def plain_result(value: Any, shape: Any) -> Any:
    """Return a result as clients can read it.

    Times have milliseconds, and maps are in the order of their keys, as those of AWS. Members of structures that are
    None, structures without a member that they need, and numbers that are not finite are left out: botocore takes null
    for a value, and pydantic models of clients refuse empty structures. Members that the shape does not have stay: a
    newer client has sent them.
    """
    if isinstance(value, Mapping) and shape is not None and shape.type_name == "structure":
        members = {
            name: plain_result(inner, shape.members.get(name)) for name, inner in value.items() if not _absent(inner)
        }
        return {name: inner for name, inner in members.items() if not _is_incomplete(inner, shape.members.get(name))}
    if isinstance(value, Mapping):
        is_map = shape is not None and shape.type_name == "map"
        inner_shape = shape.value if is_map else None
        items = sorted(value.items()) if is_map else value.items()
        return {str(name): plain_result(inner, inner_shape) for name, inner in items if not _absent(inner)}
    if isinstance(value, list | tuple):
        inner_shape = shape.member if shape is not None and shape.type_name == "list" else None
        return [plain_result(inner, inner_shape) for inner in value if not _absent(inner)]
    is_time = isinstance(value, float) and shape is not None and shape.type_name == "timestamp"
    return round(value, 3) if is_time else value


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _is_incomplete(value: Any, shape: Any) -> bool:
    if shape is None or shape.type_name != "structure" or not isinstance(value, Mapping):
        return False
    return any(name not in value for name in shape.required_members)
