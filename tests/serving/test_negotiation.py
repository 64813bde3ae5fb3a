"""Content-Type selects the codec of the body, Accept the codec of the response."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import UnsupportedType
from clearsight.serving.error_responses import NotAcceptable
from clearsight.serving.negotiation import request_type, response_type

READ = ("image/jpeg", "image/png", "application/octet-stream", "application/json", "application/x-npy")
WRITE = ("application/json", "application/x-npy", "text/csv", "application/jsonlines")


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("image/png", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("image/jpeg; charset=binary", "image/jpeg"),
        (" application/json ;charset=UTF-8", "application/json"),
    ],
)
def test_a_declared_type_is_read_without_case_and_parameters(header: str, chosen: str) -> None:
    assert request_type(header, b"", READ) == chosen


@pytest.mark.parametrize(
    ("body", "chosen"),
    [
        (b'  {"image": ""}', "application/json"),
        (b'"aGk="', "application/json"),
        (b"\x93NUMPY\x01\x00", "application/x-npy"),
        (b"\xff\xd8\xff\xe0", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
@pytest.mark.parametrize("header", [None, "", "  "])
def test_without_a_type_the_first_bytes_decide(header: str | None, body: bytes, chosen: str) -> None:
    assert request_type(header, body, READ) == chosen


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnsupportedType, match=r"'text/plain': .+Allowed: image/jpeg, image/png, .+application/x-npy"):
        request_type("text/plain", b"", READ)
    with pytest.raises(UnsupportedType, match=r"Did you mean image/jpeg\?"):
        request_type("image/jpgg", b"", ("image/jpeg",))


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        (None, "application/json"),
        ("", "application/json"),
        (" , ,", "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("application/x-npy", "application/x-npy"),
        ("Application/X-NPY; version=1", "application/x-npy"),
        ("text/*", "text/csv"),
        ("application/*;q=0.5, text/csv", "text/csv"),
        ("text/csv;q=0.1, application/x-npy;q=0.9", "application/x-npy"),
        ("text/csv, application/json", "text/csv"),
        ("application/json;q=0, */*", "application/x-npy"),
        ("*/*;q=0.1, application/jsonlines;q=0.2", "application/jsonlines"),
        ("text/csv;q=nonsense, application/json;q=0.9", "text/csv"),
        ("image/png, text/csv;q=0.3", "text/csv"),
    ],
)
def test_the_response_type_with_the_highest_preference_is_chosen(header: str | None, chosen: str) -> None:
    assert response_type(header, WRITE) == chosen


@pytest.mark.parametrize("header", ["image/png", "*/*;q=0", "application/json;q=0.0", "nonsense"])
def test_an_unknown_response_type_is_refused_with_the_known_ones(header: str) -> None:
    with pytest.raises(NotAcceptable, match="Allowed: application/json, application/x-npy, text/csv"):
        response_type(header, WRITE)


@given(st.text())
def test_any_accept_header_is_served_or_refused(header: str) -> None:
    try:
        assert response_type(header, WRITE) in WRITE
    except NotAcceptable as error:
        refused = str(error)
        assert refused
