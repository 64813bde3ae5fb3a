"""HDF5 files of encoded images by key, with a CSV of labels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadChoice, BadData, BadImage
from clearsight.data.decode import decode
from clearsight.data.readers.hdf5_table import READER


def read(path: Path, **options: str) -> Listing:
    return READER.read(path, ReadOptions(**options))


@pytest.fixture
def kaggle(tmp_path: Path, shared: Path) -> Path:
    """Write the layout of the ISIC competition: many columns and a test table without labels."""
    image = np.void((shared / "data/bad-inputs/good.jpg").read_bytes())
    for name, keys in {"train": ["A1", "A2", "A3"], "test": ["T1"]}.items():
        with h5py.File(tmp_path / f"{name}-image.hdf5", "w") as file:
            for key in keys:
                file[key] = image
    (tmp_path / "train-metadata.csv").write_text(
        "isic_id,target,patient_id,sex\nA1,0,P1,male\nA2,1,P1,\nA3,0,P2,female\n"
    )
    (tmp_path / "test-metadata.csv").write_text("isic_id,patient_id,sex\nT1,P9,male\n")
    (tmp_path / "sample_submission.csv").write_text("isic_id,target\nT1,0.3\n")
    return tmp_path


def test_isic_2024_has_its_splits_and_labels(shared: Path) -> None:
    listing = read(shared / "data/isic-2024")
    assert Counter((record.split, record.label) for record in listing.records) == {
        ("train", "0"): 486,
        ("train", "1"): 314,
        ("valid", "0"): 121,
        ("valid", "1"): 79,
        ("predict", None): 3,
    }
    assert decode(listing.source.read(listing.records[0].locator)).ndim == 3


def test_a_single_file_is_one_split(shared: Path) -> None:
    listing = read(shared / "data/isic-2024/val_split-image.hdf5", label_column="target")
    assert Counter(record.split for record in listing.records) == {"valid": 200}


def test_the_layout_of_the_competition(kaggle: Path) -> None:
    listing = read(kaggle)
    assert [(r.locator, r.label, r.split) for r in listing.records] == [
        ("T1", None, "predict"),
        ("A1", "0", "train"),
        ("A2", "1", "train"),
        ("A3", "0", "train"),
    ]
    assert listing.notices == ()


def test_a_named_label_column_and_an_unknown_one(kaggle: Path) -> None:
    labels = [record.label for record in read(kaggle, label_column="sex").records if record.split == "train"]
    assert labels == ["male", None, "female"]
    with pytest.raises(BadChoice, match=r"--label-column targte: .*Did you mean target"):
        read(kaggle, label_column="targte")


def test_rows_without_images_and_images_without_rows_are_reported(kaggle: Path) -> None:
    (kaggle / "train-metadata.csv").write_text("isic_id,target\nA1,0\nA2,1\nB7,1\n")
    listing = read(kaggle)
    assert {notice.code: notice.paths for notice in listing.notices} == {
        "row-without-image": ("B7",),
        "image-without-row": ("A3",),
    }


def test_a_training_file_without_a_table_is_reported(kaggle: Path) -> None:
    (kaggle / "train-metadata.csv").unlink()
    listing = read(kaggle)
    assert [notice.code for notice in listing.notices] == ["no-labels"]
    assert {record.split for record in listing.records} == {"predict"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("isic_id,target\nX1,0\n", "no column holds keys"),
        ("isic_id,target\nA1,0\nA1,1\n", "A1 is '1' here and '0' above"),
    ],
)
def test_tables_that_contradict_are_refused(kaggle: Path, table: str, words: str) -> None:
    (kaggle / "train-metadata.csv").write_text(table)
    with pytest.raises(BadData, match=words):
        read(kaggle)


def test_the_same_key_in_two_files_stays_two_images(kaggle: Path) -> None:
    with h5py.File(kaggle / "test-image.hdf5", "a") as file:
        file["A1"] = np.void(b"another")
    listing = read(kaggle)
    locators = [record.locator for record in listing.records if record.locator.endswith("A1")]
    assert len(locators) == 2
    assert len({listing.source.read(locator) for locator in locators}) == 2


def test_an_unknown_key_is_a_bad_image(kaggle: Path) -> None:
    with pytest.raises(BadImage):
        read(kaggle).source.read("nobody")
