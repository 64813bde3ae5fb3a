"""Objects in records and requests of them."""

from __future__ import annotations

import gzip
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearsight.core.errors import BadValue
from clearsight_sagemaker.transform.records import MEGABYTE, RecordBatch, RecordSplitter, SplitType

LINES = st.lists(st.binary(min_size=1, max_size=20).filter(lambda line: not {10, 13} & {*line}), max_size=20)


def batches(
    content: bytes, split: SplitType, *, many: bool, most: int = MEGABYTE, gz: bool = False
) -> list[RecordBatch]:
    splitter = RecordSplitter(split=split, many=many, most=most, is_gzip=gz)
    return [*splitter.batches(io.BytesIO(content))]


def recordio(*records: bytes) -> bytes:
    """Return records in the format RecordIO."""
    return b"".join(
        struct.pack("<II", 0xCED7230A, len(record)) + record + b"\0" * (-len(record) % 4) for record in records
    )


@given(lines=LINES, end=st.sampled_from([b"\n", b"\r\n"]), last=st.booleans(), many=st.booleans())
def test_lines_are_records_in_order(lines: list[bytes], end: bytes, last: bool, many: bool) -> None:
    content = end.join(lines) + (end if last else b"")
    found = batches(content, "Line", many=many, most=30)
    assert [record for batch in found for record in batch.records] == lines
    assert all(len(batch.body) <= 30 for batch in found)
    assert all(batch.body == b"\n".join(batch.records) for batch in found)
    if not many:
        assert all(len(batch.records) == 1 for batch in found)


@given(records=st.lists(st.binary(max_size=9), max_size=9))
def test_recordio_keeps_its_frame_with_many_records_and_loses_it_with_one(records: list[bytes]) -> None:
    content = recordio(*records)
    assert b"".join(batch.body for batch in batches(content, "RecordIO", many=True, most=40)) == content
    assert [batch.body for batch in batches(content, "RecordIO", many=False)] == records


def test_as_many_lines_as_fit_are_one_request() -> None:
    found = batches(b"aaaa\nbbbb\ncccc\n", "Line", many=True, most=10)
    assert [batch.body for batch in found] == [b"aaaa\nbbbb", b"cccc"]


def test_a_whole_object_and_a_compressed_one_are_one_request() -> None:
    assert batches(b"\xff\xd8 image", "None", many=True) == [RecordBatch((b"\xff\xd8 image",), b"\xff\xd8 image")]
    packed = gzip.compress(b"a\nb\n")
    assert [batch.body for batch in batches(packed, "Line", many=False, gz=True)] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("content", "split", "sentence"),
    [
        (b"x" * (MEGABYTE + 1), "None", r"more than MaxPayloadInMB \(1 MB\)"),
        (b"ok\n" + b"x" * (MEGABYTE + 1), "Line", r"more than MaxPayloadInMB \(1 MB\)"),
        (b"no format", "RecordIO", "not in the format RecordIO"),
        (recordio(b"whole")[:-1], "RecordIO", "cut off"),
        (struct.pack("<II", 0xCED7230A, (1 << 29) + 4) + b"part", "RecordIO", "in several parts"),
    ],
)
def test_objects_that_cannot_be_sent(content: bytes, split: SplitType, sentence: str) -> None:
    with pytest.raises(BadValue, match=sentence):
        batches(content, split, many=False)


@pytest.mark.parametrize("content", [b"plain", gzip.compress(b"a\nb" * 99)[:-9]], ids=["no archive", "cut off"])
def test_a_damaged_gzip_file(content: bytes) -> None:
    with pytest.raises(BadValue, match="no whole gzip file"):
        batches(content, "Line", many=True, gz=True)
