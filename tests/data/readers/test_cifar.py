"""CIFAR batches are read through an unpickler that allows arrays and text alone."""

from __future__ import annotations

import os
import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadData
from clearsight.data.readers.cifar import READER


def read(path: Path) -> Listing:
    return READER.read(path, ReadOptions())


@pytest.fixture
def batches(tmp_path: Path, shared: Path) -> Path:
    for name in ("batches.meta", "test_batch"):
        shutil.copy(shared / "data/cifar-10/cifar-10-batches-py" / name, tmp_path)
        (tmp_path / name).chmod(0o644)
    return tmp_path


def test_cifar_10_has_its_splits_and_classes(shared: Path) -> None:
    listing = read(shared / "data/cifar-10")
    assert Counter(record.split for record in listing.records) == {"train": 800, "test": 200}
    assert listing.classes[:3] == ("airplane", "automobile", "bird")
    assert set(Counter(r.label for r in listing.records if r.split == "test").values()) == {20}
    with (shared / "data/cifar-10/cifar-10-batches-py/test_batch").open("rb") as stream:
        whole = stream.read()
    pixels = listing.source.read("test_batch/00003")
    assert pixels[:, :, 0].tobytes() in whole
    assert pixels.shape == (32, 32, 3)


@pytest.mark.parametrize("protocol", [2, 4])
def test_batches_written_by_this_python(tmp_path: Path, protocol: int) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)
    content = {"data": rows, "fine_labels": [0, 1, 0, 1, 1, 0], "filenames": ["é.png"] * 6}
    for name in ("train", "test"):
        (tmp_path / name).write_bytes(pickle.dumps(content, protocol=protocol))
    (tmp_path / "meta").write_bytes(pickle.dumps({"fine_label_names": ["apple", "bee"]}, protocol=protocol))
    listing = read(tmp_path)
    assert [record.label for record in listing.records][:3] == ["apple", "bee", "apple"]
    np.testing.assert_array_equal(listing.source.read("train/00005").transpose(2, 0, 1).reshape(-1), rows[5])


class Evil:
    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "evil",
    [
        Evil(os.system, "touch pwned"),
        Evil(eval, "1"),
        Evil(np.zeros, 5),
        Evil(np.dtype, "O"),
        Evil(getattr, "text", "upper"),
    ],
)
def test_a_pickle_that_calls_anything_else_is_refused(
    batches: Path, evil: Evil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(batches)
    (batches / "test_batch").write_bytes(pickle.dumps({"data": evil}, protocol=2))
    with pytest.raises(BadData, match="not allowed"):
        read(batches)
    assert not (batches / "pwned").exists()


def test_object_arrays_are_refused(batches: Path) -> None:
    content = {"data": np.array([[1, "x"]], dtype=object), "labels": [0]}
    (batches / "test_batch").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(BadData, match="not allowed"):
        read(batches)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": [0]}, "one entry in 'labels'"),
        ({"labels": [99] * 200}, "from 0 to 9"),
        ({"labels": ["a"] * 200}, "from 0 to 9"),
        ({"data": np.zeros((200, 10), dtype=np.uint8)}, r"not \(N, 3072\) uint8"),
        ({"data": [1, 2]}, r"not \(N, 3072\) uint8"),
    ],
)
def test_shapes_and_ranges_are_checked(batches: Path, change: dict[str, object], words: str) -> None:
    content = {"data": np.zeros((200, 3072), dtype=np.uint8), "labels": [0] * 200, **change}
    (batches / "test_batch").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(BadData, match=words):
        read(batches)


def test_mutated_batches_are_read_or_refused(batches: Path) -> None:
    rows = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    original = pickle.dumps({"data": rows, "labels": [0, 1]}, protocol=2)

    @settings(
        max_examples=100,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(st.tuples(st.integers(0, 220), st.integers(0, 255)), min_size=1, max_size=5))
    def check(changes: list[tuple[int, int]]) -> None:
        data = bytearray(original)
        for place, value in changes:
            data[place] = value
        (batches / "test_batch").write_bytes(data)
        try:
            listing = read(batches)
        except BadData:
            return
        assert all(listing.source.read(record.locator).shape == (32, 32, 3) for record in listing.records)

    check()
