"""Encoded images are passed on unchanged; an NPY array with an image type is unwrapped."""

from __future__ import annotations

import numpy as np

from clearsight.serving.codecs import CODECS, image
from clearsight.testing.serving import npy_file


def test_an_image_file_reaches_the_decoder_unchanged(photo: bytes) -> None:
    payload = image.read(photo)
    assert payload.images == [photo]
    assert not payload.batch


def test_a_file_in_the_default_sagemaker_serialisation_is_unwrapped(photo: bytes) -> None:
    assert image.read(npy_file(np.array(photo))).images == [photo]


def test_every_image_type_is_read_alike() -> None:
    readers = {name: reader for name, reader in CODECS if name.startswith("image/")}
    assert {"image/jpeg", "image/png", "image/webp", "image/bmp", "image/gif", "image/tiff"} <= readers.keys()
    assert set(readers.values()) == {image.read}
