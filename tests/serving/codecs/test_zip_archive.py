"""Zip archives of images."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from clearsight.core.errors import BadValue, EmptyInput, TooLarge
from clearsight.serving.codecs import zip_archive as codec
from clearsight.serving.negotiation import sniff
from clearsight.testing.serving import CodecContract


def archive(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return out.getvalue()


class TestRead(CodecContract):
    read = staticmethod(codec.read)
    examples = ((archive({"a.jpg": b"first", "b/c.png": b"second"}), 2), (archive({"a.jpg": b"alone"}), 1))


def test_images_come_in_the_order_of_the_archive_without_hidden_files(shared: Path) -> None:
    photo = (shared / "data" / "bad-inputs" / "good.jpg").read_bytes()
    body = archive({"z.jpg": photo, "__MACOSX/z.jpg": b"x", ".DS_Store": b"x", "folder/": b"", "a.jpg": b"second"})
    assert sniff(body) == "application/zip"
    assert codec.read(body).images == [photo, b"second"]


def test_an_archive_that_grows_is_refused() -> None:
    with pytest.raises(TooLarge, match="unpacks to more than 2 times its size"):
        codec.read(archive({"a.bmp": bytes(1 << 20)}, zipfile.ZIP_DEFLATED))


def test_an_archive_without_a_file_is_refused() -> None:
    with pytest.raises(EmptyInput, match="it holds no file"):
        codec.read(archive({".hidden": b"x"}))


def test_a_damaged_archive_is_refused() -> None:
    body = archive({"a.jpg": b"first" * 100})
    with pytest.raises(BadValue, match="it cannot be unpacked"):
        codec.read(body[:-30])
    with pytest.raises(BadValue, match="it cannot be unpacked"):
        codec.read(body.replace(b"firstfirst", b"wrongfirst", 1))  # its checksum differs
