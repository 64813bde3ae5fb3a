"""Index: a line names the record, its blob and its key."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.tensors import Event, PredictionRecord, RawTensor, Scalars, Snapshot
from clearsight.debugger.storage.index import BlobReader, DamagedBlob, checksum, dump, encode, parse
from clearsight.debugger.storage.tensor_store import FileTensorStore
from tests.debugger.records import at, event, one_of_each, plain, predictions, raw, snapshot


def test_entries_know_their_names_without_reading_arrays(tmp_path: Path) -> None:
    FileTensorStore(tmp_path).append(one_of_each(1))
    entries, _ = FileTensorStore(tmp_path).entries()
    assert [entry.kind for entry in entries] == [Scalars, Snapshot, PredictionRecord, RawTensor, Event]
    assert list(entries[0].line["values"]) == ["loss"]
    assert entries[1].layout[0] == ("a.weight", "b.weight")
    assert entries[3].line["name"] == "input_channels"
    assert all(entry.at == at(1) for entry in entries)


def test_an_entry_is_complete_while_its_blob_is_whole(tmp_path: Path) -> None:
    FileTensorStore(tmp_path).append(one_of_each(1))
    entries, _ = FileTensorStore(tmp_path).entries()
    stored = entries[1]
    assert all(entry.is_complete() for entry in entries)
    assert stored.blob is not None
    stored.blob.unlink()
    assert [entry.is_complete() for entry in entries] == [True, False, False, False, True]
    with pytest.raises(DamagedBlob, match="missing or damaged"):
        stored.load()


def test_predictions_written_together_share_arrays() -> None:
    lines, arrays = encode([predictions(1, size=2), predictions(2, size=3), predictions(3, size=0)], {})
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


def test_a_line_that_is_no_entry_is_refused(tmp_path: Path) -> None:
    (line,), _ = encode([event(1)], {})
    assert plain(parse(line, {}, tmp_path).load()) == plain(event(1))
    with pytest.raises(KeyError):
        parse({**line, "kind": "song"}, {}, tmp_path)
    with pytest.raises(ValueError, match="a moment is a mode"):
        parse({**line, "at": [1, 2]}, {}, tmp_path)


def test_a_blob_stays_open_for_its_neighbours(tmp_path: Path) -> None:
    FileTensorStore(tmp_path).append([raw(1, "a"), raw(2, "b")])
    (first, second), _ = FileTensorStore(tmp_path).entries()
    blobs = BlobReader()
    first.load(blobs)
    assert first.blob is not None
    first.blob.unlink()
    assert plain(second.load(blobs)) == plain(raw(2, "b"))
