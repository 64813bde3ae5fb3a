"""FileTensorStore: every record comes back to the last bit, whatever happens to the process, or an error says why."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearsight.core.context import LayerInfo, ParameterInfo, RunContext
from clearsight.core.errors import BadData, BadValue, DiskFull
from clearsight.core.tensors import Moment, RawTensor, SavedRecord, Scalars, Snapshot
from clearsight.debugger.storage.tensor_store import FileTensorStore, IndexPosition
from tests.debugger.records import any_record, at, one_of_each, plain, plains, predictions, raw, scalars, snapshot

ROOT = Path(__file__).parents[3]


def read(folder: Path) -> list[Any]:
    """Return what a new reader finds."""
    return plains(FileTensorStore(folder).records())


def write(folder: Path, *batches: list[SavedRecord], rank: int = 0) -> list[SavedRecord]:
    """Append the batches and close; return all records."""
    store = FileTensorStore(folder, rank)
    for batch in batches:
        store.append(batch)
    store.close()
    return [record for batch in batches for record in batch]


# What goes in comes out


@given(batches=st.lists(st.lists(any_record, max_size=4), max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_records_come_back_equal_to_the_last_bit(batches: list[list[SavedRecord]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        records = write(Path(folder), *batches)
        assert read(Path(folder)) == plains(records)


@given(steps=st.lists(st.integers(0, 9), max_size=6), cut=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_rewind_keeps_exactly_what_came_until_a_training_step(steps: list[int], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        batches = [[snapshot(step + 1), raw(step + 1)] for step in steps]
        records = write(Path(folder), *batches)
        FileTensorStore(Path(folder)).rewind(cut)
        assert read(Path(folder)) == plains(record for record in records if record.at.train_step <= cut)


def test_kinds_are_chosen_in_order(tmp_path: Path) -> None:
    write(tmp_path, one_of_each(1), one_of_each(2))
    chosen = list(FileTensorStore(tmp_path).records((Scalars, Snapshot)))
    assert [type(record) for record in chosen] == [Scalars, Snapshot] * 2


@pytest.mark.parametrize(
    "value",
    [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(12.0)[::2],
        np.arange(3, dtype=">i4"),
        np.float32([np.nan, np.inf, -0.0]),
        np.array(3.5),
        np.zeros((0, 4), np.float32),
    ],
    ids=["columns first", "strided", "big-endian", "not finite", "a number", "empty"],
)
def test_arrays_come_back_however_they_lay_in_memory(tmp_path: Path, value: np.ndarray[Any, Any]) -> None:
    write(tmp_path, [RawTensor(at(1), "x", "tensors", value)])
    (back,) = FileTensorStore(tmp_path).records()
    assert isinstance(back, RawTensor)
    np.testing.assert_array_equal(back.value, value, strict=value.dtype.isnative)


def test_a_tensor_of_words_is_refused_and_nothing_of_its_batch_is_saved(tmp_path: Path) -> None:
    store = FileTensorStore(tmp_path)
    store.append(one_of_each(1))
    with pytest.raises(BadValue, match="tensor names: values of type <U3 cannot be saved"):
        store.append([snapshot(2), RawTensor(at(2), "names", "tensors", np.array(["cat", "dog"]))])
    store.append(one_of_each(3))
    assert read(tmp_path) == plains([*one_of_each(1), *one_of_each(3)])


def test_names_are_written_once(tmp_path: Path) -> None:
    write(tmp_path, *([snapshot(step)] for step in range(1, 6)))
    write(tmp_path, [snapshot(6)])  # a later process finds the list that is there
    text = (tmp_path / "index.jsonl").read_text()
    assert text.count("a.weight") == 1
    assert len(read(tmp_path)) == 6


def test_a_batch_is_one_blob(tmp_path: Path) -> None:
    write(tmp_path, [*one_of_each(1), *one_of_each(2), *one_of_each(3)])
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    store = FileTensorStore(tmp_path / "none")
    assert list(store.records()) == []
    assert store.follow() == ([], IndexPosition())
    assert store.read_context() == RunContext()
    store.rewind(3)
    assert not (tmp_path / "none").exists()


def test_the_context_comes_back_equal(tmp_path: Path) -> None:
    context = RunContext(
        steps=9,
        classes=("a", "b"),
        pretrained=True,
        layers=(LayerInfo(name="fc", kind="linear", type="Linear"),),
        parameters=(
            ParameterInfo(name="fc.weight", layer="fc", shape=(2, 3), kind="weight", trainable=True, optimized=True),
        ),
        settings={"lr": 0.1},
    )
    FileTensorStore(tmp_path).write_context(context)
    assert FileTensorStore(tmp_path).read_context() == context


def test_ranks_share_a_folder_and_nothing_else(tmp_path: Path) -> None:
    first, second = write(tmp_path, one_of_each(1)), write(tmp_path, one_of_each(2), one_of_each(3), rank=1)
    FileTensorStore(tmp_path, 1).rewind(2)
    assert read(tmp_path) == plains(first)
    assert plains(FileTensorStore(tmp_path, 1).records()) == plains(second[:5])
    assert (tmp_path / "index.1.jsonl").is_file()


# Whatever is cut or damaged


def test_cut_at_any_byte_the_index_is_a_prefix_and_can_be_written_on(tmp_path: Path) -> None:
    records = plains(write(tmp_path, [scalars(1), snapshot(1)], [predictions(2), raw(2)]))
    whole, more = (tmp_path / "index.jsonl").read_bytes(), scalars(3)
    counts = set()
    for length in range(len(whole)):
        (tmp_path / "index.jsonl").write_bytes(whole[:length])
        found = read(tmp_path)
        assert found == records[: len(found)]
        counts.add(len(found))
        if length % 7 == 0:
            write(tmp_path, [more])
            assert read(tmp_path) == [*found, plain(more)]
    assert counts == {0, 1, 2, 3}


@pytest.mark.parametrize("harm", ["missing", "empty", "cut", "turned"])
def test_a_damaged_last_blob_is_left_out_and_written_over(tmp_path: Path, harm: str) -> None:
    write(tmp_path, one_of_each(1), [snapshot(2)])
    _harm(tmp_path / "000-000002.safetensors", harm)
    assert read(tmp_path) == plains(one_of_each(1))
    write(tmp_path, [snapshot(3)])
    assert read(tmp_path) == plains([*one_of_each(1), snapshot(3)])


@pytest.mark.parametrize("harm", ["missing", "empty", "cut", "turned"])
def test_a_damaged_blob_before_others_is_named(tmp_path: Path, harm: str) -> None:
    write(tmp_path, [snapshot(1)], one_of_each(2))
    _harm(tmp_path / "000-000001.safetensors", harm)
    with pytest.raises(BadData, match=r"000-000001\.safetensors: it"):
        list(FileTensorStore(tmp_path).records())
    assert plains(FileTensorStore(tmp_path).records([Scalars])) == [plain(scalars(2))]


def test_a_damaged_line_before_others_is_named(tmp_path: Path) -> None:
    write(tmp_path, [scalars(1)], [scalars(2)])
    index = tmp_path / "index.jsonl"
    index.write_bytes(index.read_bytes().replace(b'{"kind"', b'{"kin"', 1))
    with pytest.raises(BadData, match=r"index\.jsonl: line 2 is damaged"):
        list(FileTensorStore(tmp_path).records())


def test_an_index_of_a_later_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.jsonl").write_text(json.dumps({"clearsight": "tensors", "format": 2, "rewinds": []}) + "\n")
    with pytest.raises(BadData, match="newer version"):
        list(FileTensorStore(tmp_path).records())


def test_blobs_without_lines_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path, one_of_each(1))
    (tmp_path / "000-000002.safetensors").write_bytes(b"half")
    (tmp_path / ".000-000003.safetensors.x.part").write_bytes(b"half")
    write(tmp_path, one_of_each(2))
    assert read(tmp_path) == plains([*one_of_each(1), *one_of_each(2)])


@pytest.mark.parametrize("where", ["blob", "index"])
def test_a_full_disk_is_reported_and_what_was_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    store = FileTensorStore(tmp_path)
    store.append(one_of_each(1))
    write = os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) > 20:
            return write(handle, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if where == "index":
            patch.setattr(os, "write", full)
        else:
            patch.setattr("clearsight.debugger.storage.tensor_store.save_file", no_room)
        with pytest.raises(DiskFull, match="no space is left"):
            store.append([snapshot(2)])
    assert read(tmp_path) == plains(one_of_each(1))
    store.append([snapshot(3)])
    assert read(tmp_path) == plains([*one_of_each(1), snapshot(3)])


# While it grows


def test_a_follower_gets_every_record_once(tmp_path: Path) -> None:
    store, reader, position = FileTensorStore(tmp_path), FileTensorStore(tmp_path), IndexPosition()
    followed: list[Any] = []
    for step in range(1, 6):
        store.append([snapshot(step, names=("a", str(step // 3))), raw(step)])
        new, position = reader.follow(position)
        followed += plains(new)
    assert followed == read(tmp_path)
    assert reader.follow(position) == ([], position)


def test_a_follower_waits_for_a_line_to_be_whole(tmp_path: Path) -> None:
    write(tmp_path, [scalars(1)], [scalars(2)])
    index = tmp_path / "index.jsonl"
    whole = index.read_bytes()
    index.write_bytes(whole[:-5])
    new, position = FileTensorStore(tmp_path).follow()
    assert plains(new) == [plain(scalars(1))]
    index.write_bytes(whole)
    assert plains(FileTensorStore(tmp_path).follow(position)[0]) == [plain(scalars(2))]


def test_after_a_rewind_a_follower_gets_what_comes_again(tmp_path: Path) -> None:
    store = FileTensorStore(tmp_path)
    for step in (1, 2, 3):
        store.append([snapshot(step)])
    _, position = store.follow()
    _, early = FileTensorStore(tmp_path).follow()[0], IndexPosition()
    store.rewind(2)
    new, position = store.follow(position)
    assert new == []
    store.append([raw(3)])
    new, position = store.follow(position)
    assert plains(new) == [plain(raw(3))]
    assert plains(store.follow(early)[0]) == plains([snapshot(1), snapshot(2), raw(3)])


def test_two_rewinds_between_two_calls(tmp_path: Path) -> None:
    store = FileTensorStore(tmp_path)
    for step in range(1, 6):
        store.append([snapshot(step)])
    _, position = store.follow()
    store.rewind(4)
    store.append([raw(5)])
    store.rewind(2)
    store.append([raw(3)])
    assert plains(store.follow(position)[0]) == [plain(raw(3))]


def test_a_rewind_leaves_no_litter_and_uses_no_name_twice(tmp_path: Path) -> None:
    store = FileTensorStore(tmp_path)
    for step in (1, 2, 3):
        store.append([snapshot(step)])
    store.rewind(1)
    store.append([snapshot(2)])
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        "000-000001.safetensors",
        "001-000001.safetensors",
    ]


def test_finished_until_something_is_written_again(tmp_path: Path) -> None:
    store = FileTensorStore(tmp_path)
    store.append(one_of_each(1))
    assert not FileTensorStore(tmp_path).finished
    store.finish()
    assert FileTensorStore(tmp_path).finished
    store.append(one_of_each(2))
    assert not FileTensorStore(tmp_path).finished


_WRITER = """
import sys
from pathlib import Path
from clearsight.debugger.storage.tensor_store import FileTensorStore
from tests.debugger.records import one_of_each
store = FileTensorStore(Path(sys.argv[1]))
for step in range(1, int(sys.argv[2]) + 1):
    store.append(one_of_each(step))
    print(step, flush=True)
"""


def writing(folder: Path, steps: int) -> subprocess.Popen[str]:
    """Start a process that writes one step after the other and prints its number."""
    words = [sys.executable, "-c", _WRITER, str(folder), str(steps)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_a_killed_writer_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    with writing(tmp_path, 10**6) as process:
        assert process.stdout is not None
        steps = [int(process.stdout.readline()) for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        steps += [int(line) for line in process.stdout]
    found = read(tmp_path)
    assert len(found) >= 5 * steps[-1]
    assert found == plains(record for step in range(1, len(found) // 5 + 1) for record in one_of_each(step))
    write(tmp_path, one_of_each(9))
    assert read(tmp_path) == [*found, *plains(one_of_each(9))]


def test_a_reader_sees_growing_prefixes_of_another_process(tmp_path: Path) -> None:
    expected = plains(record for step in range(1, 41) for record in one_of_each(step))
    lengths, followed, position = [], [], IndexPosition()
    with writing(tmp_path, 40) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = read(tmp_path)
            assert found == expected[: len(found)]
            assert len(found) >= 5 * int(line)
            lengths.append(len(found))
            new, position = FileTensorStore(tmp_path).follow(position)
            followed += plains(new)
    assert lengths == sorted(lengths)
    assert read(tmp_path) == followed == expected


def test_moments_are_stored_as_plain_numbers(tmp_path: Path) -> None:
    moment = Moment("eval", int(np.int64(3)), 1, 0)
    write(tmp_path, [Scalars(Moment("eval", np.int64(3), np.int32(1), 0), {"loss": np.float32(0.5)})])  # type: ignore[arg-type]
    assert list(FileTensorStore(tmp_path).records()) == [Scalars(moment, {"loss": 0.5})]


def _harm(blob: Path, harm: str) -> None:
    data = blob.read_bytes()
    if harm == "missing":
        blob.unlink()
        return
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    blob.write_bytes({"empty": b"", "cut": data[:-4], "turned": flipped}[harm])
