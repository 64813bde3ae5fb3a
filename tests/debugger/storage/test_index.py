"""A line of the index says what a record is and where its arrays are."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.tensors import Event, PredictionRecord, RawTensor, Scalars, Snapshot
from clearsight.debugger.storage.index import BlobReader, DamagedBlob, checksum, dump, encode, parse
from clearsight.debugger.storage.tensor_store import FileTensorStore
from tests.debugger.records import at, event, outcomes, plain, raw, snapshot, some


def test_entries_know_their_names_without_reading_arrays(tmp_path: Path) -> None:
    FileTensorStore(tmp_path).append(some(1))
    entries = FileTensorStore(tmp_path).entries()
    assert [(entry.kind, entry.names) for entry in entries] == [
        (Scalars, ("loss",)),
        (Snapshot, ("a.weight", "b.weight")),
        (PredictionRecord, ()),
        (RawTensor, ("input_channels",)),
        (Event, ()),
    ]
    assert all(entry.at == at(1) for entry in entries)


def test_an_entry_is_sound_while_its_blob_is_whole(tmp_path: Path) -> None:
    FileTensorStore(tmp_path).append(some(1))
    _, of_arrays, *_ = entries = FileTensorStore(tmp_path).entries()
    assert all(entry.sound() for entry in entries)
    assert of_arrays.blob is not None
    of_arrays.blob.unlink()
    assert [entry.sound() for entry in entries] == [True, False, False, False, True]
    with pytest.raises(DamagedBlob, match="missing or damaged"):
        of_arrays.load()


def test_answers_of_one_batch_share_columns() -> None:
    lines, arrays = encode([outcomes(1, size=2), outcomes(2, size=3), outcomes(3, size=0)], {})
    assert [line["rows"] for line in lines] == [[0, 2], [2, 5], [5, 5]]
    assert {name: len(array) for name, array in arrays.items()} == dict.fromkeys(
        ("labels", "predictions", "confidence", "true_probability", "indices"), 5
    )


def test_a_layout_is_a_line_before_the_first_that_uses_it() -> None:
    layouts: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
    lines, _ = encode([snapshot(1), snapshot(2), snapshot(3, names=("c",))], layouts)
    assert ["names" in line for line in lines] == [True, False, False, True, False]
    assert [line["layout"] for line in lines] == [0, 0, 0, 1, 1]
    assert encode([snapshot(4)], layouts)[0][0]["kind"] == "snapshot"


def test_lines_are_ascii_without_breaks_inside() -> None:
    lines, _ = encode([Event(at(1), "phase", "a\nb\u2028é", {"share": np.float32(0.5), "steps": np.arange(2)})], {})
    text = dump(lines)
    assert text.isascii()
    assert text.count(b"\n") == 1
    assert json.loads(text)["facts"] == {"share": 0.5, "steps": [0, 1]}


def test_the_checksum_is_of_the_bytes_in_order() -> None:
    first, second = np.arange(6.0).reshape(2, 3), np.float32([1])
    assert checksum([first, second]) == zlib.crc32(first.tobytes() + second.tobytes())
    assert checksum([np.asfortranarray(first), second]) == checksum([first, second])
    assert checksum([]) == 0


def test_what_is_no_entry_is_refused(tmp_path: Path) -> None:
    (line,), _ = encode([event(1)], {})
    assert plain(parse(line, {}, tmp_path).load()) == plain(event(1))
    with pytest.raises(KeyError):
        parse({**line, "kind": "song"}, {}, tmp_path)
    with pytest.raises(ValueError, match="unpack"):
        parse({**line, "at": [1, 2]}, {}, tmp_path)


def test_a_blob_stays_open_for_its_neighbours(tmp_path: Path) -> None:
    FileTensorStore(tmp_path).append([raw(1, "a"), raw(2, "b")])
    first, second = FileTensorStore(tmp_path).entries()
    blobs = BlobReader()
    first.load(blobs)
    assert first.blob is not None
    first.blob.unlink()
    assert plain(second.load(blobs)) == plain(raw(2, "b"))
