"""Scan: every image of a dataset decoded once before training; the result is cached."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from clearsight.core.cache import optional_write, read_sealed, write_sealed
from clearsight.core.dataset import SPLITS, Dataset, ImageSource, Notice, Pixels, Sample, StoredPixels
from clearsight.core.errors import BadData, BadImage, ClearsightError, listed
from clearsight.core.preprocess import ValueRange
from clearsight.data.decode import MAX_PIXELS, decode_stored, inspect, render
from clearsight.data.wide_values import WideImage

FORMAT = 4  # of the cache; raise it whenever an image could come out differently
_PORTION = 16  # samples per task: enough to hide the cost of a task, few enough for a smooth progress bar
_GRID, _BLOCK = 32, 8  # phash: side of the gray image, side of the block of frequencies
FLAT = 2.0  # gray levels of standard deviation under which an image is nearly one colour, and has no phash
_DIGEST_LENGTH = 32  # hex digits: 128 bits
_SHOWN = 3  # bad images named in a sentence; the notice carries all


@dataclass(frozen=True, kw_only=True, slots=True)
class ScannedImage:
    """Scan result of one sample.

    digest: see `digest`; "" for an image that could not be read, which says nothing about its content.
    width, height: upright, before any resize; 0 when not even the header is readable.
    format: as `decode.inspect` calls it ("jpeg"), "pixels" for decoded data, "" unknown.
    orientation: EXIF tag, 1 is stored upright.
    phash: 64-bit perceptual hash, 0 when the image is too flat to have one (see `phash`).  mirror: that of the image
    with left and right exchanged.
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
    mirror: int = 0
    brightness: int = 0
    contrast: float = 0.0
    depth: str = ""
    low: float = 0.0
    high: float = 0.0
    bad: str = ""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Scan results in the dataset's order; `cached` when no image had to be decoded for them."""

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
    time. With `cache`, the results are stored in `cache`/scans. Those of an image count as long as its stamp is the
    same; otherwise its content is read, and it is decoded again if its digest is another one. Nothing is stored of an
    image that could not be read: the next scan tries again.
    `progress(done, total)` is called on the caller's thread.
    """
    store = None if cache is None else _ScanFile(cache, dataset, max_pixels)
    known = store.read() if store is not None else {}
    stamps = [dataset.source.stamp(sample.locator) for sample in dataset.samples]  # before the content is read
    found = [known[s.id].image if s.id in known else None for s in dataset.samples]
    doubtful = [i for i, s in enumerate(dataset.samples) if s.id not in known or known[s.id].stamp != stamps[i]]
    progress(len(found) - len(doubtful), len(found))
    decoded, done = 0, len(found) - len(doubtful)
    for portion in _examined(dataset, [(i, found[i]) for i in doubtful], max_pixels, workers):
        for place, image in portion:
            decoded += image is not found[place]
            found[place] = image
        done += len(portion)
        progress(done, len(found))
    images = tuple(image for image in found if image is not None)
    seen = {image.id: _Remembered(stamp, image) for stamp, image in zip(stamps, images, strict=True) if image.digest}
    if store is not None and seen != known:
        store.write(seen.values())
    return Scan(found=images, cached=not decoded)


_Place = tuple[int, ScannedImage]  # index of a sample, and what was found


def _examined(
    dataset: Dataset, places: Sequence[tuple[int, ScannedImage | None]], max_pixels: int, workers: int
) -> Iterator[list[_Place]]:
    """Yield the findings of some samples in their order, a portion at a time, a few portions ahead of the consumer.

    places: index of a sample, and what is known about an earlier content of it.
    """

    def examine_portion(portion: Sequence[tuple[int, ScannedImage | None]]) -> list[_Place]:
        samples, source = dataset.samples, dataset.source
        return [(i, examine(samples[i], source, max_pixels=max_pixels, known=known)) for i, known in portion]

    portions = (places[i : i + _PORTION] for i in range(0, len(places), _PORTION))
    if workers == 0:
        yield from map(examine_portion, portions)
        return
    pending: deque[Future[list[_Place]]] = deque()
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


def examine(sample: Sample, source: ImageSource, *, max_pixels: int, known: ScannedImage | None = None) -> ScannedImage:
    """Read and decode one sample; `known` itself is returned, without decoding, where its content is still the same."""
    try:
        raw = source.read(sample.locator)
    except OSError as error:
        return ScannedImage(id=sample.id, digest="", bad=f"it cannot be read ({error.strerror or error})")
    except ClearsightError as error:
        return ScannedImage(id=sample.id, digest="", bad=error.problem)
    content = digest(raw)
    if known is not None and known.digest == content:
        return known
    found = ScannedImage(id=sample.id, digest=content, format="" if isinstance(raw, bytes) else "pixels")
    try:
        if isinstance(raw, bytes):
            # Noted before decoding: an image with a good header and damaged pixels still has a size and a format.
            header = inspect(raw, max_pixels=max_pixels, name=sample.id)
            found = replace(found, width=header.width, height=header.height)
            found = replace(found, format=header.format, orientation=header.orientation)
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
    found = replace(found, width=pixels.shape[1], height=pixels.shape[0])
    contrast = round(float(gray.std()), 2)
    found = replace(found, phash=_hash(gray), mirror=_hash(gray[:, ::-1]))
    return replace(found, brightness=round(float(gray.mean())), contrast=contrast)


def _extent(image: WideImage, name: str) -> ValueRange:
    try:
        return image.extent()
    except ValueError as error:
        raise BadImage(name, f"its pixels cannot be decoded ({error})") from None


def digest(raw: bytes | StoredPixels) -> str:
    """Return the first 32 hex digits of SHA-256 of encoded bytes, or of shape and values of decoded pixels.

    SHA-256 because processors compute it: 1.8 GB/s on a Xeon with SHA extensions, against 0.4 GB/s of blake2b. At
    that speed the content can be checked whenever it is read (`Loader`).
    """
    if isinstance(raw, bytes):
        return hashlib.sha256(raw).hexdigest()[:_DIGEST_LENGTH]
    shape = repr(raw.shape) if raw.dtype == np.uint8 else f"{raw.shape}{raw.dtype}"
    whole = hashlib.sha256(shape.encode())  # 4 x 6 differs from 6 x 4
    whole.update(np.ascontiguousarray(raw).data)
    return whole.hexdigest()[:_DIGEST_LENGTH]


def phash(pixels: Pixels) -> int:
    """Return the DCT perceptual hash of (H, W, 3) uint8, in [0, 2**64): similar images differ in few bits.

    Gray, 32 x 32, DCT-II, frequencies 1 to 8 each way, a bit for each above their median. 0 means that the image is
    too flat (under 2 gray levels of standard deviation) for its frequencies to mean anything.
    Source: Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", section 3.2.1; the
    antialiased reduction stands for its mean filter.
    """
    return _hash(_gray(pixels))


def _hash(values: npt.NDArray[np.float64]) -> int:
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


@dataclass(frozen=True, slots=True)
class _Remembered:
    """An image in the cache: its stamp at that time, and the scan result."""

    stamp: str
    image: ScannedImage


class _ScanFile:
    """The stored scan of a dataset: one JSON object per image, in a file named by place, samples and decoder."""

    def __init__(self, cache: Path, dataset: Dataset, max_pixels: int) -> None:
        # The place, too: two datasets may agree in all names. The decoder: what it cannot read another version may.
        place = Path(dataset.path).resolve() if dataset.path else ""
        whole = hashlib.sha256(f"{FORMAT}\0{max_pixels}\0{PIL.__version__}\0{place}".encode(errors="surrogateescape"))
        for sample in dataset.samples:
            whole.update(
                f"\n{sample.id}\0{sample.locator}".encode(errors="surrogateescape")
            )  # no name contains a zero byte
        self._path, self._cache = cache / "scans" / f"{whole.hexdigest()[:32]}.jsonl", cache

    def read(self) -> dict[str, _Remembered]:
        """Return what is stored by sample id; nothing when it is missing or damaged."""
        text = read_sealed(self._path, "results of the scan")
        rows = [json.loads(line) for line in (text or "").split("\n") if line]
        return {row["id"]: _Remembered(row.pop("stamp"), ScannedImage(**row)) for row in rows}

    def write(self, rows: Iterable[_Remembered]) -> None:
        lines = (json.dumps({"stamp": row.stamp, **asdict(row.image)}, ensure_ascii=False) for row in rows)
        with optional_write(self._cache):
            write_sealed(self._path, "".join(f"{line}\n" for line in lines))


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
