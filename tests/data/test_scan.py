"""A scan decodes every image once and reports the bad ones before training."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from clearsight.core.dataset import ClassMap, Dataset, Pixels, Sample, Split, StoredPixels
from clearsight.core.errors import BadArchive, BadData
from clearsight.data import scan as scan_module
from clearsight.data.duplicates import hamming
from clearsight.data.readers.support.files import FileSource
from clearsight.data.scan import Scan, ScannedImage, digest, drop_bad_images, phash, scan_images
from clearsight.data.wide_values import WideImage


@dataclass
class Files:
    root: Path

    def read(self, locator: str) -> bytes | Pixels:
        return (self.root / locator).read_bytes()

    def stamp(self, locator: str) -> str:
        path = self.root / locator
        return f"{path.stat().st_size}-{path.stat().st_mtime_ns}" if path.exists() else ""


@dataclass
class MemorySource:
    content: dict[str, bytes | Pixels | Exception]

    def read(self, locator: str) -> bytes | Pixels:
        value = self.content[locator]
        if isinstance(value, Exception):
            raise value
        return value

    def stamp(self, locator: str) -> str:
        return locator


def of(source: object, names: list[str], split: Split = "train") -> Dataset:
    samples = tuple(Sample(id=name, locator=name, label=0, split=split) for name in names)
    return Dataset(samples=samples, classes=ClassMap(("a", "b")), source=source, path="images")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def manifest(shared: Path) -> dict[str, str]:
    with (shared / "data/bad-inputs/manifest.csv").open(encoding="utf-8", newline="") as stream:
        return {row["file"]: row["expected"] for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def bad_inputs(shared: Path, manifest: dict[str, str]) -> Dataset:
    return of(Files(shared / "data/bad-inputs"), sorted(manifest))


@pytest.fixture(scope="module")
def scanned(bad_inputs: Dataset) -> Scan:
    return scan_images(bad_inputs)


def test_every_bad_input_is_found_and_every_good_one_accepted(scanned: Scan, manifest: dict[str, str]) -> None:
    for name, expected in manifest.items():
        if expected == "accept":
            assert scanned.by_id[name].bad == "", name
        elif expected in ("reject", "skip"):
            assert scanned.by_id[name].bad, name


def test_a_good_image_is_described(scanned: Scan, shared: Path) -> None:
    found = scanned.by_id["good.jpg"]
    assert (found.width, found.height, found.format, found.orientation) == (96, 72, "jpeg", 1)
    assert found.digest == digest((shared / "data/bad-inputs/good.jpg").read_bytes())
    assert len(found.digest) == 32
    assert 0 < found.phash < 2**64


def test_sizes_are_those_of_the_upright_image(scanned: Scan) -> None:
    found = scanned.by_id["exif_orientation_6.jpg"]
    assert (found.width, found.height, found.orientation) == (96, 72, 6)


def test_threads_change_nothing_and_end(bad_inputs: Dataset, scanned: Scan) -> None:
    assert scan_images(bad_inputs, workers=0).found == scan_images(bad_inputs, workers=3).found == scanned.found
    assert [found.id for found in scanned.found] == [sample.id for sample in bad_inputs.samples]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clearsight-scan")]


def test_the_pixel_limit_makes_large_images_bad(bad_inputs: Dataset) -> None:
    found = scan_images(bad_inputs, max_pixels=5000).by_id["good.jpg"]
    assert "limit" in found.bad


def test_progress_counts_up_to_the_whole(bad_inputs: Dataset) -> None:
    seen: list[tuple[int, int]] = []
    scan_images(bad_inputs, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(bad_inputs), len(bad_inputs))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_what_cannot_be_read_is_a_finding() -> None:
    content = {"gone": FileNotFoundError(2, "No such file or directory"), "torn": BadArchive("x.zip", "it is damaged")}
    found = scan_images(of(MemorySource(dict(content)), ["gone", "torn"])).by_id
    assert found["gone"].bad == "it cannot be read (No such file or directory)"
    assert found["torn"].bad == "it is damaged"


def test_decoded_pixels_are_scanned_too() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    found = scan_images(of(MemorySource({"a": pixels, "b": pixels.copy(), "c": 255 - pixels}), ["a", "b", "c"])).by_id
    assert (found["a"].width, found["a"].height, found["a"].format) == (30, 20, "pixels")
    assert found["a"].digest == found["b"].digest != found["c"].digest


def test_digest_of_pixels_counts_the_shape() -> None:
    assert digest(np.zeros((2, 8, 3), dtype=np.uint8)) != digest(np.zeros((4, 4, 3), dtype=np.uint8))


# --- the cache


@pytest.fixture
def copies(shared: Path, tmp_path: Path) -> Dataset:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("good.jpg", "alpha.png", "zero_byte.jpg"):
        (folder / name).write_bytes((shared / "data/bad-inputs" / name).read_bytes())
    return of(Files(folder), ["alpha.png", "good.jpg", "zero_byte.jpg"])


def cache_file(cache: Path) -> Path:
    (path,) = (cache / "scans").iterdir()
    return path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the images that scans decode from now on."""
    names: list[str] = []
    decode_stored = scan_module.decode_stored

    def counted(raw: bytes | StoredPixels, *, max_pixels: int, name: str) -> Pixels | WideImage:
        names.append(name)
        return decode_stored(raw, max_pixels=max_pixels, name=name)

    monkeypatch.setattr(scan_module, "decode_stored", counted)
    return names


def test_a_scan_is_cached(copies: Dataset, tmp_path: Path) -> None:
    first = scan_images(copies, cache=tmp_path)
    second = scan_images(copies, cache=tmp_path)
    assert (first.cached, second.cached) == (False, True)
    assert first.found == second.found


def test_another_limit_is_another_scan(copies: Dataset, tmp_path: Path) -> None:
    scan_images(copies, cache=tmp_path)
    assert not scan_images(copies, cache=tmp_path, max_pixels=1000).cached


def test_only_what_changed_is_decoded_again(copies: Dataset, tmp_path: Path, decoded: list[str]) -> None:
    scan_images(copies, cache=tmp_path)
    decoded.clear()
    root = copies.source.root  # type: ignore[attr-defined]
    shutil.copy(root / "alpha.png", root / "good.jpg")
    second = scan_images(copies, cache=tmp_path)
    assert (second.cached, decoded) == (False, ["good.jpg"])
    assert second.by_id["good.jpg"].format == "png"


def test_a_touched_file_is_read_but_not_decoded(copies: Dataset, tmp_path: Path, decoded: list[str]) -> None:
    first = scan_images(copies, cache=tmp_path)
    decoded.clear()
    (copies.source.root / "good.jpg").touch()  # type: ignore[attr-defined]
    second = scan_images(copies, cache=tmp_path)
    assert (second.cached, second.found, decoded) == (True, first.found, [])


REPLACEMENTS = {
    "by another file": lambda path, new: (path.unlink(), path.write_bytes(new)),
    "in place": lambda path, new: path.write_bytes(new),
    "by renaming": lambda path, new: (path.with_name("n").write_bytes(new), path.with_name("n").replace(path)),
    "behind a link": lambda path, new: (
        path.with_name("n").write_bytes(new),
        path.unlink(),
        path.symlink_to(path.with_name("n")),
    ),
}


@pytest.mark.parametrize("replace_file", REPLACEMENTS.values(), ids=REPLACEMENTS)
def test_another_content_of_the_same_size_and_time_is_noticed(
    real_copies: Dataset, tmp_path: Path, replace_file: Callable[[Path, bytes], object]
) -> None:
    path = real_copies.source.root / "good.jpg"  # type: ignore[attr-defined]
    old, facts = path.read_bytes(), path.stat()
    before = scan_images(real_copies, cache=tmp_path)
    replace_file(path, old[:-8] + bytes(8))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    after = scan_images(real_copies, cache=tmp_path)
    assert path.stat().st_size == facts.st_size
    assert after.by_id["good.jpg"].digest == digest(path.read_bytes()) != before.by_id["good.jpg"].digest


def test_datasets_that_agree_in_all_names_have_scans_of_their_own(copies: Dataset, tmp_path: Path) -> None:
    root = copies.source.root  # type: ignore[attr-defined]
    shutil.copytree(root, tmp_path / "other")
    first, second = (
        replace(copies, path=str(root)),
        replace(copies, path=str(tmp_path / "other"), source=Files(tmp_path / "other")),
    )
    scan_images(first, cache=tmp_path / "cache")
    assert not scan_images(second, cache=tmp_path / "cache").cached
    assert scan_images(first, cache=tmp_path / "cache").cached


@pytest.fixture
def real_copies(copies: Dataset) -> Dataset:
    return replace(copies, source=FileSource(copies.source.root))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "error",
    [PermissionError(13, "Permission denied"), OSError(5, "Input/output error"), FileNotFoundError(2, "No such file")],
    ids=str,
)
def test_an_error_of_reading_is_no_verdict_on_the_content(copies: Dataset, tmp_path: Path, error: OSError) -> None:
    whole = MemorySource({s.id: copies.source.read(s.id) for s in copies.samples})
    broken = MemorySource({**whole.content, "good.jpg": error})
    first = scan_images(replace(copies, source=broken), cache=tmp_path)
    assert first.by_id["good.jpg"].bad.startswith("it cannot be read")
    second = scan_images(replace(copies, source=whole), cache=tmp_path)
    assert not second.by_id["good.jpg"].bad
    assert second.found == scan_images(copies).found


def test_a_file_that_comes_back_is_good_again(real_copies: Dataset, tmp_path: Path) -> None:
    path = real_copies.source.root / "good.jpg"  # type: ignore[attr-defined]
    path.rename(tmp_path / "away.jpg")
    assert scan_images(real_copies, cache=tmp_path).by_id["good.jpg"].bad == "there is no such file"
    (tmp_path / "away.jpg").rename(path)
    assert not scan_images(real_copies, cache=tmp_path).by_id["good.jpg"].bad


def test_another_decoder_judges_anew(copies: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan_images(copies, cache=tmp_path)
    monkeypatch.setattr("PIL.__version__", "99.0")
    assert not scan_images(copies, cache=tmp_path).cached


@settings(max_examples=30)
@given(data=st.data())
def test_a_flipped_byte_anywhere_is_noticed(scanned_copies: tuple[Dataset, Path], data: st.DataObject) -> None:
    dataset, cache = scanned_copies
    path = cache_file(cache)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :])
    assert not scan_images(dataset, cache=cache).cached
    assert path.read_bytes() == whole


@pytest.fixture(scope="module")
def scanned_copies(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    folder, cache = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache")
    (folder / "good.jpg").write_bytes((shared / "data/bad-inputs/good.jpg").read_bytes())
    dataset = of(Files(folder), ["good.jpg"])
    scan_images(dataset, cache=cache)
    return dataset, cache


def test_a_cache_that_cannot_be_written_is_said_once(
    copies: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    found = [scan_images(copies, cache=tmp_path / "file" / "cache").found for _ in range(2)]
    assert found[0] == found[1] == scan_images(copies).found
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        f"note: the cache {tmp_path / 'file' / 'cache'} cannot be written to (Not a directory)"
    ]


def test_what_a_dead_writer_left_is_removed(copies: Dataset, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / ".0123.jsonl.abcd1234.part").write_bytes(b"half")
    scan_images(copies, cache=tmp_path)
    assert cache_file(tmp_path).suffix == ".jsonl"


@pytest.mark.parametrize("damage", ["", "{", "[]\n", "null\n", '{"id": 1}\n', "\xff\xfe"])
def test_a_damaged_cache_is_remade(copies: Dataset, tmp_path: Path, damage: str) -> None:
    whole = scan_images(copies, cache=tmp_path)
    cache_file(tmp_path).write_bytes(damage.encode("latin-1"))
    second = scan_images(copies, cache=tmp_path)
    assert (second.cached, second.found) == (False, whole.found)
    assert scan_images(copies, cache=tmp_path).cached


def test_a_cache_cut_short_or_of_other_samples_is_remade(copies: Dataset, tmp_path: Path) -> None:
    scan_images(copies, cache=tmp_path)
    path = cache_file(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:2]), encoding="utf-8")
    assert not scan_images(copies, cache=tmp_path).cached
    path.write_text("".join(reversed(lines)), encoding="utf-8")
    assert not scan_images(copies, cache=tmp_path).cached


def test_the_cache_is_one_json_object_a_line_behind_its_digest(copies: Dataset, tmp_path: Path) -> None:
    scan_images(copies, cache=tmp_path)
    rows = [json.loads(line) for line in cache_file(tmp_path).read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows[1:]] == ["alpha.png", "good.jpg", "zero_byte.jpg"]


# --- the perceptual hash


def encoded(image: Image.Image, **options: object) -> Pixels:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)  # type: ignore[arg-type]
    return np.asarray(Image.open(stream))


def bits_apart(a: Pixels, b: Pixels) -> int:
    return int(hamming(np.array([phash(a)], dtype=np.uint64), np.array([phash(b)], dtype=np.uint64))[0])


def test_phash_survives_compression_size_and_light_and_not_another_image(shared: Path) -> None:
    paths = sorted((shared / "data/imagenet-sample/images").iterdir())[:20]
    images = [Image.open(path).convert("RGB") for path in paths]
    for image in images:
        whole = np.asarray(image)
        assert bits_apart(whole, encoded(image, quality=50)) <= 4
        assert bits_apart(whole, np.asarray(image.resize((image.width // 2, image.height // 2)))) <= 4
    others = [bits_apart(np.asarray(a), np.asarray(b)) for a, b in pairwise(images)]
    assert min(others) > 10


def test_phash_sets_half_of_its_bits(shared: Path) -> None:
    for path in sorted((shared / "data/imagenet-sample/images").iterdir())[:10]:
        assert phash(np.asarray(Image.open(path).convert("RGB"))).bit_count() == 32


def test_a_flat_image_has_the_phash_zero() -> None:
    assert phash(np.full((50, 50, 3), 130, dtype=np.uint8)) == 0


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_phash_takes_any_image(pixels: Pixels) -> None:
    assert 0 <= phash(pixels) < 2**64


# --- dropping bad images


def scan_of(dataset: Dataset, bad: dict[str, str]) -> Scan:
    return Scan(found=tuple(ScannedImage(id=s.id, digest=f"d-{s.id}", bad=bad.get(s.id, "")) for s in dataset.samples))


@pytest.fixture
def mixed() -> Dataset:
    rows: list[tuple[str, int, Split]] = [
        *(("t1", 0, "train"), ("t2", 0, "train"), ("t3", 1, "train")),
        *(("v1", 0, "valid"), ("e1", 0, "test"), ("e2", 1, "test")),
    ]
    samples = tuple(Sample(id=name, locator=name, label=label, split=split) for name, label, split in rows)
    return Dataset(samples=samples, classes=ClassMap(("a", "b")), source=MemorySource({}), path="pets")


def test_good_images_get_their_digest_without_a_notice(mixed: Dataset) -> None:
    applied = drop_bad_images(mixed, scan_of(mixed, {}), "skip")
    assert [sample.digest for sample in applied.samples] == [f"d-{sample.id}" for sample in mixed.samples]
    assert applied.notices == ()


def test_bad_images_are_left_out_with_one_notice(mixed: Dataset) -> None:
    applied = drop_bad_images(mixed, scan_of(mixed, {"t2": "it is empty"}), "skip")
    assert [sample.id for sample in applied.samples] == ["t1", "t3", "v1", "e1", "e2"]
    (notice,) = applied.notices
    assert (notice.code, notice.paths) == ("bad-image", ("t2",))
    assert notice.text == "1 image cannot be used: t2 (it is empty); left out."


def test_a_long_list_is_cut_in_the_sentence_only(bad_inputs: Dataset, scanned: Scan) -> None:
    applied, bad = drop_bad_images(bad_inputs, scanned, "skip"), [image for image in scanned.found if image.bad]
    (notice,) = applied.notices
    assert len(notice.paths) == len(bad) == len(bad_inputs) - len(applied)
    assert notice.text.endswith(f" and {len(bad) - 3} more; left out.")


def test_fail_stops_with_the_first_reasons(mixed: Dataset) -> None:
    with pytest.raises(BadData, match=r"pets: 1 image cannot be used: t2 \(it is empty\)\. Repair .* --on-bad skip"):
        drop_bad_images(mixed, scan_of(mixed, {"t2": "it is empty"}), "fail")
    assert len(drop_bad_images(mixed, scan_of(mixed, {}), "fail")) == len(mixed)


def test_no_image_left_is_an_error(mixed: Dataset) -> None:
    with pytest.raises(BadData, match="none of its images"):
        drop_bad_images(mixed, scan_of(mixed, {sample.id: "x" for sample in mixed.samples}), "skip")


def test_an_empty_training_split_is_an_error(mixed: Dataset) -> None:
    with pytest.raises(BadData, match="training split"):
        drop_bad_images(mixed, scan_of(mixed, {"t1": "x", "t2": "x", "t3": "x"}), "skip")


def test_an_emptied_split_and_an_emptied_class_are_reported(mixed: Dataset) -> None:
    applied = drop_bad_images(mixed, scan_of(mixed, {"v1": "x", "t3": "x"}), "skip")
    assert [notice.code for notice in applied.notices] == ["bad-image", "empty-class", "empty-split"]
    assert 'class "b" in the train split' in applied.notices[1].text
    assert "valid" in applied.notices[2].text


def test_a_scan_serves_a_part_of_its_dataset(mixed: Dataset) -> None:
    whole = scan_of(mixed, {"t2": "x"})
    assert len(drop_bad_images(replace(mixed, samples=mixed.samples[:2]), whole, "skip")) == 1
