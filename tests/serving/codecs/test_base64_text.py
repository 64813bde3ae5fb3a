"""Base64 in the forms that clients write."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadValue
from clearsight.serving.codecs.base64_text import decode


@given(data=st.binary(max_size=60), url_safe=st.booleans(), padded=st.booleans(), width=st.integers(1, 20))
def test_any_alphabet_padding_and_line_width_is_read(data: bytes, url_safe: bool, padded: bool, width: int) -> None:
    text = base64.urlsafe_b64encode(data) if url_safe else base64.b64encode(data)
    text = text if padded else text.rstrip(b"=")
    lines = b"\r\n".join(text[at : at + width] for at in range(0, len(text), width))
    for form in (text, lines, b"data:image/png;base64," + text, b" DATA:image/jpeg;charset=utf-8;BASE64," + lines):
        assert decode(form, "image") == data


def test_percent_escapes_of_a_data_url_are_read() -> None:
    assert decode(b"data:image/png;base64,%2B%2F8%3D", "image") == b"\xfb\xff"


@pytest.mark.parametrize(
    "text", [b"abcde", b"***", b"data:image/png,abc", b"b'aGk='", b"aGk=aGk=", b"/9j/4AAQ...", b"\x00"]
)
def test_other_texts_are_refused(text: bytes) -> None:
    with pytest.raises(BadValue, match=r"^image: "):
        decode(text, "image")
