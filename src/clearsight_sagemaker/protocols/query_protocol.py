"""Query protocol of STS, IAM, SNS and older clients of CloudWatch: a form as request, XML as result."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from starlette.responses import Response

from clearsight_sagemaker.protocols.errors import ServiceError

_MOST_FIELDS = 10_000
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def read_form(body: bytes) -> dict[str, str]:
    """Return the fields of a form; raises ServiceError for one that cannot be read."""
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise ServiceError("MalformedQueryString", "The request body is not a form of at most 10,000 fields.") from None
    return dict(fields)


def read_parameters(form: Mapping[str, str], shape: Any) -> dict[str, Any]:
    """Return the parameters that a form has for an input shape, None for no input."""
    if shape is None:
        return {}
    value = _structure(form, shape, "")
    return value if value is not None else {}


def query_response(result: Mapping[str, Any] | None, operation: Any, namespace: str, identity: str) -> Response:
    """Return a result as XML. operation: its model.  identity: of the request."""
    name, shape = operation.name, operation.output_shape
    body = ""
    if shape is not None:
        wrapper = shape.serialization.get("resultWrapper", f"{name}Result")
        body = f"<{wrapper}>{''.join(_members_xml(dict(result or {}), shape))}</{wrapper}>"
    text = (
        f'<{name}Response xmlns="{escape(namespace)}">{body}'
        f"<ResponseMetadata><RequestId>{identity}</RequestId></ResponseMetadata></{name}Response>"
    )
    return Response(text, media_type="text/xml")


# Forms


def _value(form: Mapping[str, str], shape: Any, prefix: str) -> Any:
    """Return the value at a prefix; None where the form has none."""
    if shape.type_name == "structure":
        return _structure(form, shape, prefix)
    if shape.type_name == "list":
        return _list(form, shape, prefix)
    if shape.type_name == "map":
        return _map(form, shape, prefix)
    text = form.get(prefix)
    return None if text is None else _scalar(text, shape.type_name, prefix)


def _structure(form: Mapping[str, str], shape: Any, prefix: str) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        key = member.serialization.get("name", name)
        path = f"{prefix}.{key}" if prefix else key
        if any(field == path or field.startswith(f"{path}.") for field in form):
            value = _value(form, member, path)
            found |= {} if value is None else {name: value}
    return found or None


def _list(form: Mapping[str, str], shape: Any, prefix: str) -> list[Any] | None:
    if form.get(prefix) == "":
        return []
    base = prefix if shape.serialization.get("flattened") else f"{prefix}.{_member_name(shape)}"
    numbers = _numbers(form, base)
    return [_value(form, shape.member, f"{base}.{number}") for number in numbers] or None


def _map(form: Mapping[str, str], shape: Any, prefix: str) -> dict[str, Any] | None:
    base = prefix if shape.serialization.get("flattened") else f"{prefix}.entry"
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    entries = {
        form.get(f"{base}.{number}.{key_name}", ""): _value(form, shape.value, f"{base}.{number}.{value_name}")
        for number in _numbers(form, base)
    }
    return entries or None


def _numbers(form: Mapping[str, str], base: str) -> list[int]:
    found = {field[len(base) + 1 :].partition(".")[0] for field in form if field.startswith(f"{base}.")}
    return sorted(int(number) for number in found if number.isdecimal() and len(number) < 8)


def _scalar(text: str, kind: str, path: str) -> Any:
    try:
        if kind in ("integer", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
        if kind == "boolean":
            return {"true": True, "false": False}[text.lower()]
        if kind == "blob":
            return base64.b64decode(text, validate=True)
        if kind == "timestamp":
            return _seconds(text)
    except (ValueError, KeyError, binascii.Error):
        raise ServiceError("MalformedInput", f"{path}: {text[:100]!r} is no {kind}.") from None
    return text


def _seconds(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# XML


def _member_name(shape: Any) -> str:
    return str(shape.member.serialization.get("name", "member"))


def _members_xml(value: Mapping[str, Any], shape: Any) -> Iterator[str]:
    for name, member in shape.members.items():
        if value.get(name) is not None:
            yield from _xml(member.serialization.get("name", name), value[name], member)


def _xml(name: str, value: Any, shape: Any) -> Iterator[str]:
    if shape.type_name == "list":
        is_flat = shape.serialization.get("flattened")
        items = "".join(
            part for item in value for part in _xml(name if is_flat else _member_name(shape), item, shape.member)
        )
        yield items if is_flat else f"<{name}>{items}</{name}>"
    elif shape.type_name == "map":
        entries = "".join(
            f"<entry><key>{_text(key, shape.key)}</key><value>{_text(item, shape.value)}</value></entry>"
            for key, item in value.items()
        )
        yield f"<{name}>{entries}</{name}>"
    elif shape.type_name == "structure":
        yield f"<{name}>{''.join(_members_xml(value, shape))}</{name}>"
    else:
        yield f"<{name}>{_text(value, shape)}</{name}>"


def _text(value: Any, shape: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if shape.type_name == "timestamp":
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    if shape.type_name == "blob":
        return base64.b64encode(value).decode()
    return _ILLEGAL.sub("\ufffd", escape(str(value)))
