"""Images as base64 text, in the forms that clients write."""

from __future__ import annotations

import base64
import re

from clearsight.core.errors import BadValue
from clearsight.serving.payload import Image

_STANDARD = bytes.maketrans(b"-_", b"+/")  # the URL-safe alphabet to the usual one
_DATA_URL = re.compile(rb"data:[^,]{0,200};base64,", re.IGNORECASE)
_PYTHON_BYTES = re.compile(rb"b(['\"])(.*)\1", re.DOTALL)


def decode(text: bytes, subject: str) -> Image:
    """Return the bytes that a base64 `text` stands for; raises BadValue on `subject` for another text.

    Accepted: the standard and the URL-safe alphabet, with or without padding, line breaks, data: URLs with base64, and
    %-escapes in those.
    """
    text = text.strip()
    if text[:5].lower() == b"data:":
        head = _DATA_URL.match(text)
        if head is None:
            raise BadValue(subject, "a data: URL must look like data:image/jpeg;base64,...")
        text = text[head.end() :].replace(b"%2B", b"+").replace(b"%2F", b"/").replace(b"%3D", b"=")
    if _PYTHON_BYTES.fullmatch(text):
        fix = "Decode it to text first: base64.b64encode(data).decode()."
        raise BadValue(subject, "it is the printed form of Python bytes, not base64", fix=fix)
    plain = text.translate(_STANDARD, delete=b" \t\r\n").rstrip(b"=")
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except ValueError:  # the base of binascii.Error
        raise BadValue(subject, "it is not base64", fix="Encode the bytes of the image file with base64.") from None
