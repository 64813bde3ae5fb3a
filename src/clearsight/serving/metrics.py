"""Counters of an endpoint: one file for each worker, which writes it as memory; anybody reads them all together."""

from __future__ import annotations

import bisect
import contextlib
import mmap
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Upper limits of the histogram of latencies, in seconds; what takes longer is in one more bin.
EDGES = (
    0.002,
    0.004,
    0.006,
    0.008,
    0.01,
    0.015,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.15,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
_PROGRESS, _IMAGES, _SECONDS, _CONFIDENCE, _REQUESTS = 0, 1, 2, 3, 4
_STATUSES = ("2xx", "3xx", "4xx", "5xx", "none")  # "none": the client left before a response
_BINS = _REQUESTS + len(_STATUSES)
_COMPARED = _BINS + len(EDGES) + 1
_AGREED = _COMPARED + 1
_CLASSES = _AGREED + 1  # where the counts of predicted classes begin
_RETIRED = "ended"  # file of the workers that have ended


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the workers of an endpoint.

    requests: by the first digit of the status.  bins: answered requests by latency, as EDGES.  seconds: sum of the
    latencies.  classes: images by predicted class.  confidence: sum over the images.  compared: images that a shadow
    classified beside another variant, and agreed: those of the same class.
    """

    in_progress: int
    images: int
    seconds: float
    confidence: float
    requests: dict[str, int]
    bins: tuple[int, ...]
    classes: tuple[int, ...]
    compared: int = 0
    agreed: int = 0

    def quantile(self, share: float) -> float:
        """Return a quantile of the latencies in seconds, by linear interpolation within its bin; 0 for none."""
        total = sum(self.bins)
        if not total:
            return 0.0
        rank, below = share * total, 0
        for place, count in enumerate(self.bins):
            if below + count >= rank and count:
                low = EDGES[place - 1] if place else 0.0
                high = EDGES[place] if place < len(EDGES) else EDGES[-1]
                return low + (high - low) * (rank - below) / count
            below += count
        return EDGES[-1]


class WorkerCounters:
    """Counters of this process, for one thread. classes: number of classes of the model.  folder: of all workers'."""

    def __init__(self, folder: Path, classes: int, pid: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._size = folder, _CLASSES + classes
        path = folder / str(pid if pid is not None else os.getpid())
        path.write_bytes(bytes(8 * self._size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8 * self._size)
        self._values = memoryview(self._memory).cast("d")

    def begin(self) -> None:
        """Count a request that has arrived."""
        self._values[_PROGRESS] += 1

    def end(self, status: int, seconds: float) -> None:
        """Count the end of a request. status: 0 where the client left before a response."""
        values = self._values
        values[_PROGRESS] -= 1
        name = f"{status // 100}xx" if status else "none"
        values[_REQUESTS + _STATUSES.index(name)] += 1
        values[_SECONDS] += seconds
        values[_BINS + bisect.bisect_left(EDGES, seconds)] += 1

    def predicted(self, classes: Sequence[int], confidences: Sequence[float]) -> None:
        """Count predictions: the index of each class, and its probability."""
        for index in classes:
            self._values[_CLASSES + index] += 1
        self._values[_IMAGES] += len(classes)
        self._values[_CONFIDENCE] += sum(confidences)

    def compared(self, images: int, agreed: int) -> None:
        """Count images that a shadow classified too, and those of them to which it gave the same class."""
        self._values[_COMPARED] += images
        self._values[_AGREED] += agreed

    def close(self) -> None:
        """Let go of the file; the counts stay."""
        self._values.release()
        self._memory.close()


def totals(folder: Path) -> Totals:
    """Return the sums over all workers, those that have ended too."""
    values: list[float] = [0.0] * _CLASSES
    for _, row in _rows(folder):
        values += [0.0] * (len(row) - len(values))
        for place, value in enumerate(row):
            values[place] += value
    return Totals(
        in_progress=int(values[_PROGRESS]),
        images=int(values[_IMAGES]),
        seconds=values[_SECONDS],
        confidence=values[_CONFIDENCE],
        requests={name: int(values[_REQUESTS + place]) for place, name in enumerate(_STATUSES)},
        bins=tuple(int(value) for value in values[_BINS:_COMPARED]),
        classes=tuple(int(value) for value in values[_CLASSES:]),
        compared=int(values[_COMPARED]),
        agreed=int(values[_AGREED]),
    )


def in_progress(folder: Path) -> float:
    """Return the requests that are being answered."""
    return sum(row[_PROGRESS] for _, row in _rows(folder))


def retire(folder: Path, pid: int) -> None:
    """Add the counters of a worker that has ended to those of earlier ones; its PID may be used again."""
    path = folder / str(pid)
    if not path.is_file():
        return
    rows = dict(_rows(folder))
    added, before = rows.get(path, ()), rows.get(folder / _RETIRED, ())
    width = max(len(added), len(before))
    sums = [a + b for a, b in zip(_padded(added, width), _padded(before, width), strict=True)]
    if sums:
        sums[_PROGRESS] = 0.0
        part = folder / f".{_RETIRED}"
        part.write_bytes(struct.pack(f"{width}d", *sums))
        part.replace(folder / _RETIRED)
    path.unlink(missing_ok=True)


def prometheus(sums: Totals, classes: Sequence[str], variants: Mapping[str, Totals] | None = None) -> str:
    """Return the counters in the text format of Prometheus, version 0.0.4.

    variants: those of each variant, where there are several.
    """
    lines = ["# TYPE clearsight_requests_total counter"]
    lines += [f'clearsight_requests_total{{status="{name}"}} {count}' for name, count in sums.requests.items()]
    lines += ["# TYPE clearsight_requests_in_progress gauge", f"clearsight_requests_in_progress {sums.in_progress}"]
    lines.append("# TYPE clearsight_request_seconds histogram")
    below = 0
    for edge, count in zip((*map(str, EDGES), "+Inf"), sums.bins, strict=True):
        below += count
        lines.append(f'clearsight_request_seconds_bucket{{le="{edge}"}} {below}')
    lines += [f"clearsight_request_seconds_sum {sums.seconds:.6f}", f"clearsight_request_seconds_count {below}"]
    lines += ["# TYPE clearsight_images_total counter", f"clearsight_images_total {sums.images}"]
    lines += ["# TYPE clearsight_confidence_sum counter", f"clearsight_confidence_sum {sums.confidence:.6f}"]
    lines.append("# TYPE clearsight_predictions_total counter")
    for name, images in zip(classes, _padded(sums.classes, len(classes)), strict=False):
        escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'clearsight_predictions_total{{class="{escaped}"}} {int(images)}')
    return "\n".join([*lines, *_variant_lines(variants or {})]) + "\n"


def _variant_lines(variants: Mapping[str, Totals]) -> Iterator[str]:
    values: dict[str, Callable[[Totals], float]] = {
        "clearsight_variant_seconds_sum": lambda sums: round(sums.seconds, 6),
        "clearsight_variant_images_total": lambda sums: sums.images,
        "clearsight_variant_compared_total": lambda sums: sums.compared,
        "clearsight_variant_agreed_total": lambda sums: sums.agreed,
    }
    if variants:
        yield "# TYPE clearsight_variant_requests_total counter"
    for variant, sums in variants.items():
        for status, count in sums.requests.items():
            yield f'clearsight_variant_requests_total{{variant="{variant}",status="{status}"}} {count}'
    for name, value in values.items() if variants else ():
        yield f"# TYPE {name} counter"
        yield from (f'{name}{{variant="{variant}"}} {value(sums)}' for variant, sums in variants.items())


def _padded(row: Sequence[float], width: int) -> list[float]:
    return [*row, *[0.0] * (width - len(row))]


def _rows(folder: Path) -> Iterator[tuple[Path, tuple[float, ...]]]:
    """Yield the files and their numbers; one that is being written or removed is left out."""
    for path in sorted(folder.glob("[!.]*")) if folder.is_dir() else ():
        with contextlib.suppress(OSError, struct.error):
            data = path.read_bytes()
            if len(data) >= 8 * _CLASSES:
                yield path, struct.unpack(f"{len(data) // 8}d", data)
