"""Audit: a dataset described, as a value and as JSON."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clearsight.core.dataset import ClassMap, Dataset, Notice, Sample, Split
from clearsight.data.audit import Audit, CorruptImage, audit
from clearsight.data.scan import scan_images


@dataclass
class Files:
    root: Path
    extra_files: dict[str, bytes] = field(default_factory=dict)  # images that the test adds to those on disk

    def read(self, locator: str) -> bytes:
        return self.extra_files[locator] if locator in self.extra_files else (self.root / locator).read_bytes()

    def stamp(self, locator: str) -> str:
        return locator


def of(source: Files, rows: list[tuple[str, int | None, Split]]) -> Dataset:
    samples = tuple(Sample(id=name, locator=name, label=label, split=split) for name, label, split in rows)
    return Dataset(samples=samples, classes=ClassMap(("forest", "sea")), source=source, path="scenes")


def audited(dataset: Dataset, input_size: int | None = None) -> Audit:
    return audit(dataset, scan_images(dataset), input_size)


def codes(found: Audit) -> list[str]:
    return [notice.code for notice in found.warnings]


@pytest.fixture
def scenes(shared: Path) -> Dataset:
    """24 real images in two classes and two splits; the training split has 12 and 6."""
    root = shared / "data/intel-scenes/seg_train"
    rows: list[tuple[str, int | None, Split]] = []
    for label, (name, count) in enumerate([("forest", 12), ("sea", 6)]):
        paths = [path.relative_to(root).as_posix() for path in sorted((root / name).iterdir())]
        rows += [(path, label, "train") for path in paths[:count]]
        rows += [(path, label, "test") for path in paths[count : count + 3]]
    return of(Files(root), sorted(rows, key=lambda row: (row[2] != "train", row[0])))


def test_a_sound_dataset_is_counted_and_nothing_is_wrong(scenes: Dataset) -> None:
    found = audited(scenes)
    assert found.classes == ("forest", "sea")
    assert found.splits == {"train": {"forest": 12, "sea": 6}, "test": {"forest": 3, "sea": 3}}
    assert found.imbalance == 2.0
    assert found.formats == {"jpeg": 24}
    assert found.common_sizes[0] == (150, 150, 24)
    assert [(each.low, each.high, each.count) for each in found.short_sides] == [(128, 160, 24)]
    assert (found.corrupt, found.duplicates, found.near_duplicates, found.leaks, found.small) == ((), (), (), (), ())
    assert codes(found) == ["few-images"]


def reencoded(pixels: Image.Image, *, mirrored: bool) -> bytes:
    stream = io.BytesIO()
    turned = pixels.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else pixels
    turned.resize((110, 110)).save(stream, "JPEG", quality=70)
    return stream.getvalue()


def test_mirror_images_are_leaks_across_splits_and_information_within_one(scenes: Dataset) -> None:
    assert isinstance(scenes.source, Files)
    first, second = (sample.id for sample in scenes.split("train").samples[:2])
    extra = {
        name: reencoded(Image.open(io.BytesIO(scenes.source.read(original))), mirrored=True)
        for name, original in (("flip-test.jpg", first), ("flip-train.jpg", second))
    }
    rows = [(sample.id, sample.label, sample.split) for sample in scenes.samples]
    found = audited(
        of(Files(scenes.source.root, extra), [*rows, ("flip-test.jpg", 0, "test"), ("flip-train.jpg", 0, "train")])
    )
    assert set(found.flipped) == {(first, "flip-test.jpg"), (second, "flip-train.jpg")}
    assert found.near_duplicates == ()
    assert [(leak.paths, leak.exact, leak.flipped) for leak in found.leaks] == [((first, "flip-test.jpg"), False, True)]
    assert {"leak", "flipped-duplicates"} <= set(codes(found))


def test_a_smaller_copy_is_a_near_copy_and_no_mirror_image(scenes: Dataset) -> None:
    assert isinstance(scenes.source, Files)
    first = scenes.samples[0].id
    extra = {"copy.jpg": reencoded(Image.open(io.BytesIO(scenes.source.read(first))), mirrored=False)}
    rows = [(sample.id, sample.label, sample.split) for sample in scenes.samples]
    found = audited(of(Files(scenes.source.root, extra), [*rows, ("copy.jpg", 0, "train")]))
    assert found.near_duplicates == ((first, "copy.jpg"),)
    assert found.flipped == ()


def test_images_below_the_models_input_are_listed(scenes: Dataset) -> None:
    found = audited(scenes, input_size=224)
    assert len(found.small) == 24
    assert "224 px" in found.warnings[-1].text
    assert audited(scenes, input_size=150).small == ()


def test_leaks_are_exact_or_near_duplicates(scenes: Dataset) -> None:
    assert isinstance(scenes.source, Files)
    sea, forest = (next(s.id for s in scenes.samples if s.label == label) for label in (1, 0))
    stream = io.BytesIO()
    Image.open(io.BytesIO(scenes.source.read(forest))).resize((120, 120)).save(stream, "JPEG", quality=60)
    extra_files = {"copy.jpg": scenes.source.read(sea), "smaller.jpg": stream.getvalue()}
    rows = [(sample.id, sample.label, sample.split) for sample in scenes.samples]
    found = audited(
        of(Files(scenes.source.root, extra_files), [*rows, ("copy.jpg", 1, "test"), ("smaller.jpg", 1, "test")])
    )
    assert found.duplicates == ((sea, "copy.jpg"),)
    assert found.near_duplicates == ((forest, "smaller.jpg"),)
    assert [(leak.paths, leak.exact) for leak in found.leaks] == [
        ((sea, "copy.jpg"), True),
        ((forest, "smaller.jpg"), False),
    ]
    assert found.conflicts == ((forest, "smaller.jpg"),)
    assert codes(found)[:4] == ["leak", "label-conflict", "duplicates", "near-duplicates"]
    assert found.warnings[0].text.startswith("2 images of a later split occur in an earlier one too (test in train: 2)")


def test_each_bad_input_is_counted_under_its_own_heading(shared: Path) -> None:
    root = shared / "data/bad-inputs"
    names = sorted(path.name for path in root.iterdir() if path.suffix != ".csv")
    found = audited(of(Files(root), [(name, 0, "train") for name in names]))
    assert found.rotated == ("exif_orientation_6.jpg",)
    assert "zero_byte.jpg" in [each.path for each in found.corrupt]
    assert all(each.reason for each in found.corrupt)
    assert found.splits == {"train": {"forest": len(names)}}
    assert any("good.jpg" in group and "duplicate_of_good.jpg" in group for group in found.duplicates)
    assert sum(each.count for each in found.short_sides) == len(names) - len(found.corrupt)
    assert codes(found)[0] == "bad-image"


def test_a_lopsided_training_split_is_warned_of(scenes: Dataset) -> None:
    seas = [sample for sample in scenes.samples if sample.label == 1 and sample.split == "train"]
    found = audited(scenes.only(lambda sample: sample not in seas[2:]))
    assert found.imbalance == 6.0
    assert "imbalance" in codes(found)
    text = next(notice.text for notice in found.warnings if notice.code == "imbalance")
    assert text == 'Class "forest" has 12 images to train on, "sea" has 2: consider --class-weights balanced.'


def test_without_labels_there_is_no_imbalance(scenes: Dataset) -> None:
    bare = of(scenes.source, [(sample.id, None, "predict") for sample in scenes.samples])  # type: ignore[arg-type]
    found = audited(bare)
    assert found.imbalance is None
    assert found.splits == {"predict": {"": 24}}
    assert found.warnings == ()


def test_what_the_reader_noticed_comes_first_and_only_once(scenes: Dataset) -> None:
    notices = (Notice(code="nested", text="One level too deep."), Notice(code="few-images", text="Already reported."))
    found = audited(scenes.noting(*notices))
    assert found.warnings == notices


def test_json_has_the_documented_keys_and_plain_values(scenes: Dataset) -> None:
    document = audited(scenes, input_size=224).to_json()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    documented = {"classes", "splits", "imbalance", "corrupt", "duplicates", "leaks", "warnings"}
    assert documented <= document.keys()
    assert document["splits"]["train"] == {"forest": 12, "sea": 6}
    assert [warning.keys() for warning in document["warnings"]] == [{"code", "text"}] * len(document["warnings"])


def test_json_of_leaks_and_corrupt_images(scenes: Dataset) -> None:
    assert isinstance(scenes.source, Files)
    first = scenes.samples[0].id
    extra_files = {"copy.jpg": scenes.source.read(first), "empty.jpg": b""}
    rows: list[tuple[str, int | None, Split]] = [
        (first, 0, "train"),
        ("copy.jpg", 0, "valid"),
        ("empty.jpg", 0, "test"),
    ]
    found = audited(of(Files(scenes.source.root, extra_files), rows))
    document = found.to_json()
    assert document["leaks"] == [
        {"paths": [first, "copy.jpg"], "splits": ["train", "valid"], "exact": True, "flipped": False}
    ]
    assert found.corrupt == (CorruptImage(path="empty.jpg", reason=document["corrupt"][0]["reason"]),)
    assert document["duplicates"] == [[first, "copy.jpg"]]


def test_flat_images_are_no_near_duplicates(scenes: Dataset) -> None:
    extra_files = {}
    for shade in (10, 200):
        stream = io.BytesIO()
        Image.fromarray(np.full((64, 64, 3), shade, dtype=np.uint8)).save(stream, "PNG")
        extra_files[f"{shade}.png"] = stream.getvalue()
    found = audited(of(Files(Path(), extra_files), [("10.png", 0, "train"), ("200.png", 1, "test")]))
    assert (found.near_duplicates, found.leaks) == ((), ())
