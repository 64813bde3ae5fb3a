"""HDF5 files opened for reading."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from clearsight.core.errors import BadData
from clearsight.data.readers.support.hdf5_file import Hdf5File, encoded_image, hdf5_files, holds_encoded


@pytest.mark.parametrize(
    "value",
    [
        np.bytes_(b"\xff\xd8\xff jpeg"),
        np.void(b"\xff\xd8\xff jpeg\0"),
        np.frombuffer(b"\xff\xd8\xff jpeg\0", dtype=np.uint8),
        np.array([b"\xff\xd8\xff jpeg"]),
    ],
)
def test_encoded_images_of_any_storage_are_exact(tmp_path: Path, value: object) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["key"] = value
        assert holds_encoded(file["key"])
    data = encoded_image(Hdf5File(tmp_path / "a.h5").open()["key"])
    assert data == np.asarray(value).tobytes()


def test_fixed_length_strings_keep_trailing_zeros(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("key", data=np.array(b"bmp\0\0", dtype="S5"))
    assert encoded_image(Hdf5File(tmp_path / "a.h5").open()["key"]) == b"bmp\0\0"


def test_variable_length_values(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("text", data=b"jpeg", dtype=h5py.string_dtype("ascii"))
        file.create_dataset("rows", shape=(1,), dtype=h5py.vlen_dtype(np.uint8))
        file["rows"][0] = np.frombuffer(b"jpeg", dtype=np.uint8)
    assert encoded_image(Hdf5File(tmp_path / "a.h5").open()["text"]) == b"jpeg"
    assert encoded_image(Hdf5File(tmp_path / "a.h5").open()["rows"]) == b"jpeg"


def test_only_real_files_are_found(tmp_path: Path, shared: Path) -> None:
    (tmp_path / "fake.h5").write_bytes(b"not HDF5")
    assert hdf5_files(tmp_path) == []
    assert len(hdf5_files(shared / "data/isic-2024")) == 3


def test_a_damaged_file_is_bad_data(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    with pytest.raises(BadData, match="damaged, cut short, or no HDF5 file"):
        encoded_image(Hdf5File(tmp_path / "a.h5").open()["key"])
