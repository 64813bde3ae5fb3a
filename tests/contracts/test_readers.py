"""Every dataset format keeps the contract, on small examples of real images."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from clearsight.core.dataset import ReadOptions
from clearsight.data.decode import decode
from clearsight.data.readers import READERS
from clearsight.testing.readers import ReaderContract


class Example(ReaderContract):
    """Three classes of two images from the real scenes."""

    @pytest.fixture(autouse=True)
    def _images(self, shared: Path) -> None:
        scenes = shared / "data" / "intel-scenes" / "seg_train"
        self.images = [
            (name, image) for name in ("forest", "sea", "street") for image in sorted((scenes / name).iterdir())[:2]
        ]

    def folders(self, folder: Path) -> Path:
        for name, image in self.images:
            (folder / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(image, folder / name)
        return folder


class TestFolders(Example):
    reader = READERS.load("folders")

    def example(self, folder: Path) -> Path:
        return self.folders(folder / "scenes")


class TestZip(Example):
    reader = READERS.load("archive")

    def example(self, folder: Path) -> Path:
        source = self.folders(folder / "plain")
        with zipfile.ZipFile(folder / "scenes.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            for file in source.rglob("*.jpg"):
                packed.write(file, file.relative_to(source))
        return folder / "scenes.zip"


class TestTar(Example):
    reader = READERS.load("archive")
    ending = ".tar"

    def example(self, folder: Path) -> Path:
        source = self.folders(folder / "plain")
        target = folder / f"scenes{self.ending}"
        with tarfile.open(target, f"w:{self.ending[5:]}") as packed:
            packed.add(source, "scenes")
        return target


class TestCompressedTar(TestTar):
    ending = ".tar.gz"


class TestTable(Example):
    reader = READERS.load("table")

    def example(self, folder: Path) -> Path:
        self.folders(folder / "images")
        with (folder / "all.csv").open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow(["file", "label"])
            table.writerows([f"images/{name}/{image.name}", name] for name, image in self.images)
        return folder / "all.csv"


class TestMetadata(Example):
    reader = READERS.load("metadata")

    def example(self, folder: Path) -> Path:
        (folder / "pets/train").mkdir(parents=True)
        for _, image in self.images:
            shutil.copy(image, folder / "pets/train")
        rows = "".join(f"{image.name},{name}\n" for name, image in self.images)
        (folder / "pets/train/metadata.csv").write_text("file_name,label\n" + rows)
        return folder / "pets"


class TestManifest(Example):
    reader = READERS.load("manifest")

    def example(self, folder: Path) -> Path:
        self.folders(folder / "images")
        lines = [
            json.dumps({"source-ref": f"s3://bucket/a/images/{name}/{image.name}", "class": name})
            for name, image in self.images
        ]
        (folder / "all.manifest").write_text("\n".join(lines), encoding="utf-8")
        return folder / "all.manifest"


class TestLst(Example):
    reader = READERS.load("lst")

    def example(self, folder: Path) -> Path:
        self.folders(folder / "images")
        numbers = {"forest": 0, "sea": 1, "street": 2}
        lines = [f"{i}\t{numbers[name]}\timages/{name}/{image.name}" for i, (name, image) in enumerate(self.images)]
        (folder / "all.lst").write_text("\n".join(lines), encoding="utf-8")
        return folder / "all.lst"


class TestHdf5Table(Example):
    reader = READERS.load("hdf5-table")
    options = ReadOptions(label_column="scene")

    def example(self, folder: Path) -> Path:
        import h5py

        with h5py.File(folder / "train-image.hdf5", "w") as file:
            for name, image in self.images:
                file[f"{name}_{image.stem}"] = np.bytes_(image.read_bytes())
        rows = "".join(f"{name}_{image.stem},7,{name}\n" for name, image in self.images)
        (folder / "train-metadata.csv").write_text("id,age,scene\n" + rows)
        return folder


class TestHdf5Arrays(Example):
    reader = READERS.load("hdf5-arrays")

    def example(self, folder: Path) -> Path:
        import h5py

        pixels = np.stack([decode(image.read_bytes())[:64, :64] for _, image in self.images])
        with h5py.File(folder / "scenes.h5", "w") as file:
            file["images"] = pixels
            file["labels"] = np.array([0, 0, 1, 1, 2, 2])
            file["class_names"] = np.array([b"forest", b"sea", b"street"])
        return folder / "scenes.h5"


class TestHdf5Groups(Example):
    reader = READERS.load("hdf5-groups")

    def example(self, folder: Path) -> Path:
        import h5py

        with h5py.File(folder / "scenes.h5", "w") as file:
            for number, (name, image) in enumerate(self.images):
                data = image.read_bytes()
                file[f"train/{name}/{number}"] = decode(data)[:64] if number % 2 else np.frombuffer(data, np.uint8)
        return folder / "scenes.h5"


class TestNpz(Example):
    reader = READERS.load("numpy")
    save = staticmethod(np.savez)

    def example(self, folder: Path) -> Path:
        pixels = np.stack([decode(image.read_bytes())[:64, :64] for _, image in self.images])
        labels = np.array([[0], [0], [1], [1], [2], [2]])  # as MedMNIST
        self.save(folder / "scenes.npz", train_images=pixels, train_labels=labels)
        return folder / "scenes.npz"


class TestCompressedNpz(TestNpz):
    save = staticmethod(np.savez_compressed)


class TestNpy(Example):
    reader = READERS.load("numpy")

    def example(self, folder: Path) -> Path:
        np.save(folder / "images.npy", np.stack([decode(image.read_bytes())[:64, :64] for _, image in self.images]))
        np.save(folder / "labels.npy", np.array([name for name, _ in self.images]))
        return folder / "images.npy"


class TestParquetImages(Example):
    reader = READERS.load("parquet-images")

    def example(self, folder: Path) -> Path:
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        images = [{"bytes": image.read_bytes(), "path": image.name} for _, image in self.images]
        (folder / "data").mkdir()
        table = arrow.table({"image": images, "label": [name for name, _ in self.images]})
        parquet.write_table(table, folder / "data" / "train-00000-of-00001.parquet", row_group_size=4)
        return folder


class TestWebDataset(Example):
    reader = READERS.load("webdataset")
    ending = "tar"

    def example(self, folder: Path) -> Path:
        with tarfile.open(folder / f"train-000000.{self.ending}", f"w:{self.ending[4:]}") as packed:
            for number, (name, image) in enumerate(self.images):
                packed.add(image, f"{number:06}.jpg")
                info = tarfile.TarInfo(f"{number:06}.cls")
                info.size = len(name)
                packed.addfile(info, io.BytesIO(name.encode()))
        return folder


class TestCompressedWebDataset(TestWebDataset):
    ending = "tar.gz"


class TestCifar(Example):
    reader = READERS.load("cifar")

    @pytest.fixture(autouse=True)
    def _batches(self, shared: Path) -> None:
        self.batches = shared / "data" / "cifar-10"

    def example(self, folder: Path) -> Path:
        target = folder / "cifar-10-batches-py"
        target.mkdir()
        for name in ("batches.meta", "test_batch"):
            shutil.copy(self.batches / target.name / name, target)
        return target


def test_every_format_is_held_to_the_contract() -> None:
    suites = [suite for suite in globals().values() if isinstance(suite, type) and issubclass(suite, ReaderContract)]
    held = {suite.reader.name for suite in suites if suite.__name__.startswith("Test")}
    assert held == set(READERS.names())
