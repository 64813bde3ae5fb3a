"""Contract of dataset formats: the tests that every reader must pass.

A third party subclasses `ReaderContract` in its own tests:

    class TestMyReader(ReaderContract):
        reader = MyReader()

        def example(self, folder: Path) -> Path: ...   # write a small dataset of the format, return its path
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.dataset import SPLITS, ImageSource, Listing, Reader, ReadOptions
from clearsight.core.errors import BadImage, ClearsightError
from clearsight.data.decode import decode


class ReaderContract:
    """Tests of a reader. A subclass sets `reader` and writes `example` with at least two labelled images."""

    reader: Reader
    options = ReadOptions()

    def example(self, folder: Path) -> Path:
        """Write a small dataset of the format below `folder` and return the path to open."""
        raise NotImplementedError

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Return the path of the example."""
        return self.example(tmp_path)

    @pytest.fixture
    def listing(self, path: Path) -> Listing:
        """Return the listing of the example."""
        return self.reader.read(path, self.options)

    def test_satisfies_the_protocol(self, listing: Listing) -> None:
        assert isinstance(self.reader, Reader)
        assert isinstance(listing.source, ImageSource)
        assert listing.format == self.reader.name

    def test_recognises_its_example(self, path: Path) -> None:
        assert self.reader.recognises(path)

    def test_does_not_recognise_a_path_without_data(self, tmp_path: Path) -> None:
        empty = tmp_path / "an empty folder"
        empty.mkdir()
        # Neither must be claimed: readers are asked in turn, and the first that says yes reads.
        (tmp_path / "notes.txt").write_text("no data here")
        assert not self.reader.recognises(empty)
        assert not self.reader.recognises(tmp_path / "notes.txt")

    def test_refuses_an_empty_folder(self, tmp_path: Path) -> None:
        empty = tmp_path / "an empty folder"
        empty.mkdir()
        with pytest.raises(ClearsightError):
            self.reader.read(empty, self.options)

    def test_lists_the_same_twice(self, path: Path, listing: Listing) -> None:
        # As text: None and str do not compare. Sorted: the order is made later, by `freeze`.
        assert sorted(map(str, self.reader.read(path, self.options).records)) == sorted(map(str, listing.records))

    def test_locators_are_unique_text(self, listing: Listing) -> None:
        locators = [record.locator for record in listing.records]
        assert len(set(locators)) == len(locators) > 0
        # Relative: a dataset may be moved.
        assert all(locator.encode() and not locator.startswith("/") for locator in locators)

    def test_labels_and_splits_are_known_names(self, listing: Listing) -> None:
        labels = {record.label for record in listing.records} - {None}
        assert len(labels) >= 2  # with one label a mix-up would go unnoticed
        assert {record.split for record in listing.records} <= {None, *SPLITS}
        assert not listing.classes or labels <= set(listing.classes)

    def test_eight_threads_read_the_same_bytes_as_one(self, listing: Listing) -> None:
        locators = [record.locator for record in listing.records] * 4  # several threads read the same image at once
        sequential = [_digest(listing.source, locator) for locator in locators]
        with ThreadPoolExecutor(8) as pool:
            concurrent = list(pool.map(lambda locator: _digest(listing.source, locator), locators))
        assert concurrent == sequential

    def test_every_image_decodes(self, listing: Listing) -> None:
        for record in listing.records:
            pixels = decode(listing.source.read(record.locator), name=record.locator)
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3

    def test_stamp_is_stable(self, path: Path, listing: Listing) -> None:
        second = self.reader.read(path, self.options).source  # a new source, as in the next process
        for record in listing.records:
            assert listing.source.stamp(record.locator) == second.stamp(record.locator)

    def test_unknown_locator_is_a_bad_image(self, listing: Listing) -> None:
        with pytest.raises(BadImage):
            listing.source.read("no/such image")
        assert isinstance(listing.source.stamp("no/such image"), str)  # a scan's key is made before images are read


def _digest(source: ImageSource, locator: str) -> str:
    raw = source.read(locator)
    return hashlib.sha256(raw if isinstance(raw, bytes) else raw.tobytes()).hexdigest()
