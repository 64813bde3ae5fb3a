"""Messages of event streams are those that botocore reads."""

from __future__ import annotations

from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from clearsight_sagemaker.endpoints.event_stream import message, payload_parts

NAMES = st.text("abc:-", min_size=1, max_size=20)


@given(st.dictionaries(NAMES, st.text(max_size=30), max_size=4), st.binary(max_size=200))
def test_a_message_has_its_headers_and_its_payload(headers: dict[str, str], payload: bytes) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(message(headers, payload))
    [event] = buffer
    assert (event.headers, event.payload) == (headers, payload)


@given(st.integers(0, 200_000))
def test_parts_are_the_body(size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    buffer = EventStreamBuffer()
    for part in payload_parts(body[:size]):
        buffer.add_data(part)
    assert b"".join(event.payload for event in buffer) == body[:size]
