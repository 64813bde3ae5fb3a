"""Process that measures one runtime of a bundle: python -m clearsight.workflow.deployment.benchmark_worker REQUEST.

A process of its own, so that memory and start-up are those of this runtime alone. REQUEST is a JSON file of
`WorkerRequest`; the result goes to the file that it names, since runtimes may write to stdout.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BATCHES = (4, 16, 32)  # besides 1
_FEWEST = 20  # calls whose p50 and p99 are reported
_WARM_UP = 3  # calls that are not timed: the first ones allocate
_ACCURACY_BATCH = 16


class WorkerRequest(BaseModel):
    """Work of one process. pixels: .npy file with (N, S, S, 3) uint8.  rows: .npy file for the probabilities (N, C)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path
    option: str
    seconds: float
    threads: int
    pixels: Path
    rows: Path
    result: Path


def main(argv: list[str]) -> int:
    """Measure as the request says; return the exit code."""
    import psutil  # small, and its own memory must not count

    process = psutil.Process()
    before = process.memory_info().rss
    request = WorkerRequest.model_validate_json(Path(argv[0]).read_text(encoding="utf-8"))

    import numpy as np

    from clearsight.core.bundle import Bundle
    from clearsight.core.files import write_json
    from clearsight.workflow.deployment.options import runtime_options
    from clearsight.workflow.predictors import open_option, probabilities_of

    bundle = Bundle.open(request.bundle)
    option = next(option for option in runtime_options(bundle) if option.name == request.option)
    predictor = open_option(bundle, option, threads=request.threads)
    images = np.load(request.pixels, mmap_mode="r")
    few = np.array(images[: max(BATCHES)])  # a copy: pages of the mapped file would count as memory

    def run(batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        return probabilities_of(predictor, batch)

    run(few[:1])
    first = time.time()  # comparable with the clock of the process that started this one
    latencies = _latencies(run, few, request.seconds / 2)
    memory = process.memory_info().rss - before  # before the batches, whose buffers depend on their size
    speeds = {1: 1 / (sum(latencies) / len(latencies))}
    speeds |= {size: _speed(run, few, size, request.seconds / 2 / len(BATCHES)) for size in BATCHES}
    parts = [run(np.array(images[i : i + _ACCURACY_BATCH])) for i in range(0, len(images), _ACCURACY_BATCH)]
    np.save(request.rows, np.concatenate(parts))
    result: dict[str, Any] = {
        "first_answer": first,
        "memory": memory,
        "p50": float(np.percentile(latencies, 50)),
        "p99": float(np.percentile(latencies, 99)),
        "calls": len(latencies),
        "images_per_second": {str(size): speed for size, speed in speeds.items()},
    }
    write_json(request.result, result)
    return 0


def _latencies(run: Callable[[Any], Any], images: npt.NDArray[np.uint8], seconds: float) -> list[float]:
    """Return the seconds of single images, one after another."""
    for _ in range(_WARM_UP):
        run(images[:1])
    found: list[float] = []
    end = time.perf_counter() + seconds
    for place in itertools.cycle(range(len(images))):
        start = time.perf_counter()
        if start >= end and len(found) >= _FEWEST:
            break
        run(images[place : place + 1])
        found.append(time.perf_counter() - start)
    return found


def _speed(run: Callable[[Any], Any], images: npt.NDArray[np.uint8], size: int, seconds: float) -> float:
    """Return images/s in batches of `size`."""
    import numpy as np

    batch = np.resize(images, (size, *images.shape[1:]))  # repeats where there are fewer images
    run(batch)
    done, start = 0, time.perf_counter()
    while done == 0 or time.perf_counter() - start < seconds:
        run(batch)
        done += size
    return done / (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
