"""Scan: every image of a dataset decoded once before training; the result is cached."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from clearsight.core.dataset import SPLITS, Dataset, ImageSource, Notice, Pixels, Sample, StoredPixels
from clearsight.core.errors import BadData, BadImage, ClearsightError, listed
from clearsight.core.files import write_text
from clearsight.core.preprocess import ValueRange
from clearsight.data.decode import MAX_PIXELS, decode_stored, inspect, render
from clearsight.data.wide_values import WideImage

FORMAT = 3  # of the cache; raise it whenever an image could come out differently
_PORTION = 16  # samples per task: enough to hide the cost of a task, few enough for a smooth progress bar
_GRID, _BLOCK = 32, 8  # phash: side of the gray image, side of the block of frequencies
FLAT = 2.0  # gray levels of standard deviation under which an image is nearly one colour, and has no phash
_SHOWN = 3  # bad images named in a sentence; the notice carries all


@dataclass(frozen=True, kw_only=True, slots=True)
class ScannedImage:
    """Scan result of one sample.

    digest: blake2b-16 in hex of the encoded bytes, or of shape and pixels where the data holds pixels.
    width, height: upright, before any resize; 0 when not even the header is readable.
    format: as `decode.inspect` calls it ("jpeg"), "pixels" for decoded data, "" unknown.
    orientation: EXIF tag, 1 is stored upright.
    phash: 64-bit perceptual hash, 0 when the image is too flat to have one (see `phash`).
    brightness: mean gray level in 0 to 255.  contrast: standard deviation of the gray levels, of a 32 x 32 reduction.
    depth: type of stored values of more than 8 bits ("uint16", "float32"), else "". Such an image is hashed and
    measured between its own extremes.  low, high: smallest and largest stored value of any channel.
    bad: why it cannot be used, "" when it can.
    """

    id: str
    digest: str
    width: int = 0
    height: int = 0
    format: str = ""
    orientation: int = 1
    phash: int = 0
    brightness: int = 0
    contrast: float = 0.0
    depth: str = ""
    low: float = 0.0
    high: float = 0.0
    bad: str = ""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Scan results in the dataset's order; `cached` when they come from the cache."""

    found: tuple[ScannedImage, ...]
    cached: bool = False

    @cached_property
    def by_id(self) -> Mapping[str, ScannedImage]:
        """Sample id to what was found."""
        return {found.id: found for found in self.found}

    def of(self, dataset: Dataset) -> list[ScannedImage]:
        """Return the results for the samples of `dataset`, in its order."""
        return [self.by_id[sample.id] for sample in dataset.samples]


def scan_images(
    dataset: Dataset,
    *,
    max_pixels: int = MAX_PIXELS,
    workers: int = 2,
    cache: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scan:
    """Read and decode every sample once, in `workers` threads (0: in this one), and return the results.

    An image that cannot be read or decoded is a finding, not an error. At most `workers` images are in memory at a
    time. With `cache`, the results are stored in `cache`/scans/<key>.jsonl, keyed by sample ids and stamps: they
    survive moving a dataset, and are computed again when a file changes or the cache is damaged.
    `progress(done, total)` is called on the caller's thread.
    """
    cache_file = None if cache is None else cache / "scans" / f"{_key(dataset, max_pixels)}.jsonl"
    if cache_file is not None and (remembered := _load(cache_file, dataset)) is not None:
        progress(len(remembered), len(remembered))
        return Scan(found=remembered, cached=True)
    found: list[ScannedImage] = []
    for portion in _examined(dataset, max_pixels, workers):
        found += portion
        progress(len(found), len(dataset))
    if cache_file is not None:
        write_text(cache_file, "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in found))
    return Scan(found=tuple(found))


def _examined(dataset: Dataset, max_pixels: int, workers: int) -> Iterator[list[ScannedImage]]:
    """Yield the findings in the dataset's order, a chunk at a time, a few chunks ahead of the consumer."""

    def examine_portion(portion: Sequence[Sample]) -> list[ScannedImage]:
        return [examine(sample, dataset.source, max_pixels=max_pixels) for sample in portion]

    portions = (dataset.samples[i : i + _PORTION] for i in range(0, len(dataset), _PORTION))
    if workers == 0:
        yield from map(examine_portion, portions)
        return
    pending: deque[Future[list[ScannedImage]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="clearsight-scan")
    try:
        for portion in portions:
            pending.append(pool.submit(examine_portion, portion))
            if len(pending) > 3 * workers:  # enough queued that no thread waits for the consumer
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def examine(sample: Sample, source: ImageSource, *, max_pixels: int) -> ScannedImage:
    try:
        raw = source.read(sample.locator)
    except OSError as error:
        return ScannedImage(id=sample.id, digest="", bad=f"it cannot be read ({error.strerror or error})")
    except ClearsightError as error:
        return ScannedImage(id=sample.id, digest="", bad=error.problem)
    found = ScannedImage(id=sample.id, digest=digest(raw), format="" if isinstance(raw, bytes) else "pixels")
    try:
        if isinstance(raw, bytes):
            # Noted before decoding: an image with a good header and damaged pixels still has a size and a format.
            found = replace(found, **asdict(inspect(raw, max_pixels=max_pixels, name=sample.id)))
        stored = decode_stored(raw, max_pixels=max_pixels, name=sample.id)
        if isinstance(stored, WideImage):
            low, high = _extent(stored, sample.id)
            pixels = render(stored, (low, high) if high > low else None, sample.id)
            found = replace(found, depth=stored.depth, low=low, high=high)
        else:
            pixels = stored
            found = replace(found, low=float(pixels.min()), high=float(pixels.max()))
    except BadImage as error:
        return replace(found, bad=error.problem)
    gray = _gray(pixels)
    size = {"width": pixels.shape[1], "height": pixels.shape[0]}
    contrast = round(float(gray.std()), 2)
    return replace(found, **size, phash=phash(pixels), brightness=round(float(gray.mean())), contrast=contrast)


def _extent(image: WideImage, name: str) -> ValueRange:
    try:
        return image.extent()
    except ValueError as error:
        raise BadImage(name, f"its pixels cannot be decoded ({error})") from None


def digest(raw: bytes | StoredPixels) -> str:
    """blake2b-16 in hex of encoded bytes, or of shape and values of decoded pixels."""
    if isinstance(raw, bytes):
        return hashlib.blake2b(raw, digest_size=16).hexdigest()
    shape = repr(raw.shape) if raw.dtype == np.uint8 else f"{raw.shape}{raw.dtype}"
    whole = hashlib.blake2b(shape.encode(), digest_size=16)  # 4 x 6 differs from 6 x 4
    whole.update(raw.tobytes())
    return whole.hexdigest()


def phash(pixels: Pixels) -> int:
    """Return the DCT perceptual hash of (H, W, 3) uint8, in [0, 2**64): similar images differ in few bits.

    Gray, 32 x 32, DCT-II, frequencies 1 to 8 each way, a bit for each above their median. 0 means that the image is
    too flat (under 2 gray levels of standard deviation) for its frequencies to mean anything.
    Source: Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", section 3.2.1; the
    antialiased reduction stands for its mean filter.
    """
    values = _gray(pixels)
    if values.std() < FLAT:  # else all blank images would be near-duplicates of each other
        return 0
    waves = _waves()
    block = (waves @ values @ waves.T).ravel()  # from frequency 1 on: the mean brightness is left out
    return int.from_bytes(np.packbits(block > np.median(block)).tobytes(), "big")


def _gray(pixels: Pixels) -> npt.NDArray[np.float64]:
    """Return (32, 32) gray levels in 0 to 255 of (H, W, 3) uint8."""
    gray = Image.fromarray(pixels).convert("L").resize((_GRID, _GRID), Image.Resampling.BILINEAR)
    return np.asarray(gray, dtype=np.float64)


@lru_cache
def _waves() -> npt.NDArray[np.float64]:
    """Return (8, 32) rows 1 to 8 of the DCT-II matrix, without its scale (a hash compares, it does not measure)."""
    k, x = np.arange(1, _BLOCK + 1)[:, None], np.arange(_GRID)[None]
    return cast(npt.NDArray[np.float64], np.cos(np.pi * (2 * x + 1) * k / (2 * _GRID)))


def _key(dataset: Dataset, max_pixels: int) -> str:
    whole = hashlib.blake2b(f"{FORMAT}\0{max_pixels}".encode(), digest_size=16)
    for sample in dataset.samples:
        whole.update(f"\n{sample.id}\0{dataset.source.stamp(sample.locator)}".encode())  # no name contains a zero byte
    return whole.hexdigest()


_KINDS: Mapping[str, type] = {"str": str, "int": int, "float": float}


def _load(path: Path, dataset: Dataset) -> tuple[ScannedImage, ...] | None:
    """Return the findings stored at `path`; None when they are missing or damaged."""
    kinds = {field.name: _KINDS[str(field.type)] for field in fields(ScannedImage)}
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        # `type(...) is`, since isinstance takes true for an int.
        whole = all(row.keys() == kinds.keys() and all(type(row[n]) is k for n, k in kinds.items()) for row in rows)
    except (OSError, ValueError, AttributeError):  # not there, not JSON, not objects
        return None
    if not whole or [row["id"] for row in rows] != [sample.id for sample in dataset.samples]:
        return None
    return tuple(ScannedImage(**row) for row in rows)


def drop_bad_images(dataset: Dataset, scan: Scan, on_bad: Literal["skip", "fail"]) -> Dataset:
    """Return the dataset without its bad images, digests set on the rest, and a notice about the images left out.

    With on_bad "fail", any bad image raises BadData. So does, always, a dataset (or a training split) of which
    nothing is left. A split or a class of a split that becomes empty is a notice.
    """
    found = scan.of(dataset)
    bad = {image.id: image.bad for image in found if image.bad}
    name = dataset.path or "dataset"
    if bad and on_bad == "fail":
        raise BadData(name, _sentence(bad), fix="Repair them, or leave them out with --on-bad skip.")
    if len(bad) == len(dataset):
        raise BadData(name, f"none of its images can be used: {_reasons(bad)}")
    pairs = zip(dataset.samples, found, strict=True)
    good = replace(
        dataset, samples=tuple(replace(sample, digest=image.digest) for sample, image in pairs if not image.bad)
    )
    if not bad:
        return good
    notice = Notice(code="bad-image", text=f"{_sentence(bad)}; left out.", paths=tuple(bad))
    return good.noting(notice, *_emptied(dataset, good))


def _emptied(before: Dataset, after: Dataset) -> Iterator[Notice]:
    was, now = before.counts(), after.counts()
    for split in SPLITS:
        if split in was and split not in now:
            if split == "train":
                raise BadData(before.path or "dataset", "none of the images of its training split can be used")
            yield Notice(code="empty-split", text=f"None of the images of the {split} split can be used.")
            continue
        for name in was.get(split, {}):
            if name and name not in now[split]:
                text = f'None of the images of class "{name}" in the {split} split can be used.'
                yield Notice(code="empty-class", text=text)


def _sentence(bad: Mapping[str, str]) -> str:
    return f"{len(bad)} {'image' if len(bad) == 1 else 'images'} cannot be used: {_reasons(bad)}"


def _reasons(bad: Mapping[str, str]) -> str:
    return listed([f"{path} ({reason})" for path, reason in bad.items()], _SHOWN)
