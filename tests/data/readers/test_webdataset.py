"""WebDataset: images and label files of the same name in tar shards."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from clearsight.core.dataset import Listing, ReadOptions
from clearsight.core.errors import BadArchive, BadChoice, BadData
from clearsight.data.readers import open_listing
from clearsight.data.readers.webdataset import READER


@pytest.fixture(scope="module")
def image(shared: Path) -> bytes:
    return next((shared / "data" / "intel-scenes" / "seg_test" / "sea").iterdir()).read_bytes()


def tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as packed:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return path


def read(path: Path, **options: str) -> Listing:
    assert READER.recognises(path)
    return READER.read(path, ReadOptions(**options))


@pytest.mark.parametrize(
    ("end", "labels"),
    [
        ("cls", (b"0", b"1\n")),
        ("cls.txt", (b"0", b"1")),
        ("json", (b'{"label": 0, "caption": "a"}', b'{"label": 1}')),
        ("json", (b"0", b"1")),
        ("txt", (b"0", b"1")),
    ],
)
@pytest.mark.parametrize("prefix", ["", "shard/"])
def test_labels_in_any_of_the_usual_files(
    tmp_path: Path, image: bytes, end: str, labels: tuple[bytes, bytes], prefix: str
) -> None:
    members = {f"{prefix}{i}.{kind}": data for i in (0, 1) for kind, data in (("jpg", image), (end, labels[i]))}
    listing = read(tar(tmp_path / "train-000000.tar", members))
    assert [(record.label, record.split) for record in listing.records] == [("0", "train"), ("1", "train")]
    assert listing.source.read(listing.records[1].locator) == image


@pytest.mark.parametrize(("train", "test"), [("train-000000.tar", "test-000000.tar.gz"), ("train/0.tar", "test/0.tar")])
def test_splits_of_shards_and_names_of_classes(tmp_path: Path, image: bytes, train: str, test: str) -> None:
    for shard in (train, train.replace("0.tar", "1.tar"), test):
        tar(tmp_path / shard, {"a.jpg": image, "a.cls": b"0", "b.webp": image, "b.cls": b"1"})
    (tmp_path / "classnames.txt").write_text("sea\nforest\n")
    listing = open_listing(tmp_path)
    assert (listing.format, listing.classes) == ("webdataset", ("sea", "forest"))
    assert Counter((record.split, record.label) for record in listing.records) == {
        ("train", "sea"): 2,
        ("train", "forest"): 2,
        ("test", "sea"): 1,
        ("test", "forest"): 1,
    }


def test_a_key_of_the_json_files_is_chosen_by_the_flag(tmp_path: Path, image: bytes) -> None:
    rows = [{"scene": "sea", "label": 5}, {"scene": "forest", "label": 6}]
    members = {
        f"{i}.{kind}": data
        for i, row in enumerate(rows)
        for kind, data in (("png", image), ("json", json.dumps(row).encode()))
    }
    path = tar(tmp_path / "a.tar", members)
    assert [record.label for record in read(path, label_column="scene").records] == ["sea", "forest"]
    with pytest.raises(BadChoice, match="Did you mean scene"):
        read(path, label_column="scenes")


def test_samples_without_image_or_label(tmp_path: Path, image: bytes) -> None:
    members = {"a.jpg": image, "a.cls": b"0", "b.cls": b"1", "c.jpg": image, "d.jpg": image, "d.mask.png": image}
    listing = read(tar(tmp_path / "a.tar", {**members, "d.cls": b"1"}))
    assert [(r.locator, r.label, r.split) for r in listing.records] == [
        *(("a.tar::a.jpg", "0", None), ("a.tar::c.jpg", None, "predict"), ("a.tar::d.jpg", "1", None)),
    ]
    assert [notice.code for notice in listing.notices] == ["row-without-image"]


def test_class_folders_in_a_tar_are_no_shard(tmp_path: Path, image: bytes) -> None:
    members = {"sea/1.jpg": image, "sea/1.txt": b"a caption", "forest/1.jpg": image, "forest/1.json": b"{}"}
    assert open_listing(tar(tmp_path / "a.tar", members)).format == "archive"


def test_a_damaged_label_or_shard_is_one_sentence(tmp_path: Path, image: bytes) -> None:
    with pytest.raises(BadData, match=r"a\.json: it is not JSON"):
        read(tar(tmp_path / "a.tar", {"a.jpg": image, "a.json": b"{"}))
    path = tar(tmp_path / "b.tar", {"a.jpg": image, "a.cls": b"1", "b.jpg": image})
    path.write_bytes(path.read_bytes()[: len(image) // 2])
    assert not READER.recognises(path)
    with pytest.raises(BadArchive, match="it cannot be read"):
        READER.read(path, ReadOptions())
