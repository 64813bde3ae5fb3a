"""RecordIO files of images: what is written comes back, and a damaged file is an error for the user."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearsight.core.errors import BadData
from clearsight_sagemaker.algorithms.image_classification.image_records import read_records
from tests.sagemaker.algorithms.record_writer import MAGIC, image_record, record_file

LABELS = st.lists(st.integers(0, 1 << 20).map(float), min_size=1, max_size=3)
IMAGES = st.lists(st.one_of(st.just(MAGIC), st.binary(max_size=9)), max_size=6).map(b"".join)
IN_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)


@IN_ONE_FOLDER
@given(records=st.lists(st.tuples(LABELS, IMAGES), max_size=4))
def test_what_is_written_comes_back(tmp_path: Path, records: list[tuple[list[float], bytes]]) -> None:
    path = tmp_path / "images.rec"
    path.write_bytes(record_file(image_record(n, labels, image) for n, (labels, image) in enumerate(records)))
    found = [(list(record.labels), record.image) for record in read_records(path)]
    assert found == records


@IN_ONE_FOLDER
@given(content=st.binary(max_size=60), cut=st.integers(0, 60), place=st.integers(0, 60), byte=st.integers(0, 255))
def test_a_damaged_file_is_an_error_of_the_user(
    tmp_path: Path, content: bytes, cut: int, place: int, byte: int
) -> None:
    path = tmp_path / "images.rec"
    whole = bytearray(record_file([image_record(0, [1.0], content)]))
    whole[place % len(whole)] = byte
    path.write_bytes(bytes(whole[: len(whole) - cut]))
    with suppress(BadData):
        assert all(record.labels for record in read_records(path))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"no record", "no record begins here"),
        (MAGIC + b"\xff\xff\xff\x1f", "a record has more than 256 MiB"),
        (MAGIC + b"\x00\x00\x00\x40", "the parts of a record are not in order"),
        (record_file([b"short"]), "an image record has 24 bytes of header"),
        (record_file([image_record(0, [1.0], b"image")])[:-6], "the file ends within a record"),
        (record_file([image_record(0, [float("nan")], b"image")]), "its label is no finite number"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "images.rec"
    path.write_bytes(content)
    with pytest.raises(BadData, match=problem):
        list(read_records(path))
