"""Form uploads: the files of the form are the images, whatever the client's boundary and line breaks are."""

from __future__ import annotations

import base64

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadValue, ClearsightError, EmptyInput
from clearsight.serving.codecs import multipart
from clearsight.testing.serving import CodecContract


def form(*files: tuple[str, tuple[str | None, bytes]]) -> bytes:
    request = httpx.Request("POST", "http://x", files=list(files))
    request.read()
    return request.content


class TestMultipart(CodecContract):
    read = staticmethod(multipart.read)
    examples = (
        (form(("file", ("a.jpg", b"one"))), 1),
        (form(("file", ("a.jpg", b"one")), ("other", ("b.png", b"two"))), 2),
    )


@given(contents=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4))
def test_files_come_back_byte_for_byte(contents: list[bytes]) -> None:
    body = form(*[("file", (f"{number}.png", content)) for number, content in enumerate(contents)])
    payload = multipart.read(body)
    assert list(payload.images) == contents
    assert payload.batch == (len(contents) > 1)


def test_fields_beside_a_file_and_files_left_empty_are_left_out() -> None:
    body = form(("token", (None, b"secret")), ("empty", ("", b"")), ("image", ("a.jpg", b"\r\n--bytes\r\n")))
    assert list(multipart.read(body).images) == [b"\r\n--bytes\r\n"]


def test_a_form_without_a_file_holds_base64_texts() -> None:
    text = base64.urlsafe_b64encode(b"\xfb\xff image").rstrip(b"=")
    assert list(multipart.read(form(("image", (None, text)))).images) == [b"\xfb\xff image"]


def test_bare_line_feeds_a_preamble_and_encoded_parts_are_read() -> None:
    head = b"Content-Disposition: form-data; name=f; filename=a.jpg\nContent-Transfer-Encoding: base64\n\n"
    body = b"preamble\n--b 1\n" + head + base64.b64encode(b"image") + b"\n--b 1--\nepilogue"
    assert list(multipart.read(body).images) == [b"image"]


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        (b"no form", BadValue, "does not begin with a boundary"),
        (b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nhalf a fi', BadValue, "cut short"),
        (b"--b\r\n\r\nx\r\n--b", BadValue, "cut short"),
        (b"--b\r\nno end of headers\r\n--b--", BadValue, "no headers"),
        (b"--b\r\n" + b"\r\n\r\n--b\r\n" * 300, BadValue, "more than 256 parts"),
        (form(("file", ("", b""))), EmptyInput, "no file"),
        (form(("file", (None, b"not base64!"))), BadValue, "it is not base64"),
    ],
)
def test_a_damaged_form_is_refused_with_the_reason(body: bytes, kind: type[ClearsightError], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        multipart.read(body)
