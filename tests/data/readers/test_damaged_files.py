"""A dataset in one file that was cut short or damaged is called damaged; never a smaller dataset without a word."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from clearsight.core.errors import BadArchive, BadData
from clearsight.data.readers import open_listing

FORMATS = ["a.h5", "train-image.hdf5", "a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.parquet"]
Images = dict[str, bytes]


@pytest.fixture(scope="module")
def images(shared: Path) -> Images:
    """Return twelve real photographs of two classes by path."""
    root = shared / "data/intel-scenes/seg_test"
    files = [file for name in ("forest", "sea") for file in sorted((root / name).iterdir())[:6]]
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def write(path: Path, images: Images) -> Path:
    """Write the images in the format of the file's name; the rows of a Parquet table name them."""
    labels = [name.partition("/")[0] for name in images]
    if path.name == "a.h5":
        pixels = [np.asarray(Image.open(io.BytesIO(data)).resize((32, 32))) for data in images.values()]
        with h5py.File(path, "w") as file:
            file["images"], file["labels"] = np.stack(pixels), [label == "sea" for label in labels]
    elif path.suffix == ".hdf5":
        keys = [name.replace("/", "-") for name in images]
        with h5py.File(path, "w") as file:
            for key, data in zip(keys, images.values(), strict=True):
                file[key] = np.void(data)
        rows = "".join(f"{key},{label}\n" for key, label in zip(keys, labels, strict=True))
        path.with_name("train-metadata.csv").write_text(f"isic_id,target\n{rows}")
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, data in images.items():
                packed.writestr(name, data)
    elif path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"path": list(images), "label": labels}), path)
    else:
        with tarfile.open(path, f"w:{path.suffix[1:]}" if path.suffix != ".tar" else "w") as archive:
            for name, data in images.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.77], ids=lambda share: f"{share:.1%}")
def test_a_file_that_was_cut_short_is_called_damaged(name: str, share: float, images: Images, tmp_path: Path) -> None:
    path = write(tmp_path / name, images)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises((BadData, BadArchive), match=r"damaged.* cut short.* download it again") as raised:
        open_listing(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("place", ["after a member", "within a header", "within an image"])
def test_a_tar_may_be_cut_anywhere(place: str, images: Images, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", images)
    with tarfile.open(path) as packed:
        member = packed.getmembers()[7]
    cut = {"after a member": member.offset, "within a header": member.offset + 100, "within an image": -1}[place]
    path.write_bytes(path.read_bytes()[: cut if cut > 0 else member.offset_data + 1000])
    with pytest.raises(BadArchive, match="cut short"):
        open_listing(path)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_a_damaged_header_within_a_tar_hides_no_images(name: str, images: Images, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", images)
    with tarfile.open(path) as packed:
        header = packed.getmembers()[5].offset
    content = bytearray(path.read_bytes())
    content[header + 20] ^= 255
    compress: Callable[[bytes], bytes] = bytes
    if name.endswith("gz"):
        import gzip

        compress = gzip.compress
    (tmp_path / name).write_bytes(compress(bytes(content)))
    with pytest.raises(BadArchive, match="damaged"):
        open_listing(tmp_path / name)


def test_bytes_behind_a_whole_gzip_file_are_no_damage(images: Images, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar.gz", images)
    path.write_bytes(path.read_bytes() + b"signature")
    assert len(open_listing(path).records) == len(images)


def test_a_damaged_one_of_several_hdf5_files_is_named(images: Images, tmp_path: Path) -> None:
    write(tmp_path / "train-image.hdf5", images)
    whole = (tmp_path / "train-image.hdf5").read_bytes()
    (tmp_path / "test-image.hdf5").write_bytes(whole[:-99])
    with pytest.raises(BadData, match=r"test-image\.hdf5: it is damaged, cut short"):
        open_listing(tmp_path)


def test_damaged_weights_beside_class_folders_are_nobodys_business(images: Images, tmp_path: Path) -> None:
    for name, data in images.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "weights.h5").write_bytes(write(tmp_path.parent / "a.h5", images).read_bytes()[:-9])
    listing = open_listing(tmp_path)
    assert (listing.format, len(listing.records)) == ("folders", len(images))


def test_a_damaged_index_of_hdf5_is_no_traceback(images: Images, tmp_path: Path) -> None:
    path = write(tmp_path / "train-image.hdf5", images)
    path.write_bytes(path.read_bytes().replace(b"SNOD", b"DONS"))  # the mark of a node with the names of images
    with pytest.raises(BadData, match="damaged"):
        open_listing(path)
