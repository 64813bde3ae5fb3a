"""Images/s of `transform` against a plain loop over the same images, and a transform that is killed three times.

    python benchmarks/transform.py RUN FOLDER_OF_IMAGES [ROUNDS]

The plain loop reads, prepares and classifies one batch after the other in one thread, with each of the batch sizes;
the network has all cores in both. Rounds take turns, so that both see the same other load. The killed transform must
then have each image once, in the order of the input.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clearsight.core.bundle import open_bundle
from clearsight.core.machine import cores
from clearsight.data.readers.folders import list_images
from clearsight.workflow.predictors import open_predictor
from clearsight.workflow.transform.transform import TransformOptions, transform

BATCH_SIZES = (8, 16, 32)


@dataclass
class Speeds:
    """Images per second of wall time, and per second of processor time, which other programs disturb less."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def add(self, images: int, seconds: float, processor_seconds: float) -> None:
        """Take a measurement."""
        self.wall.append(images / seconds)
        self.processor.append(images / processor_seconds)

    def __str__(self) -> str:
        return f"{statistics.median(self.wall):.1f} (processor {statistics.median(self.processor):.1f})"


def plain_loop(run: str, files: list[Path], size: int, speeds: Speeds) -> None:
    """Measure a loop without threads of its own; opening the model is left out."""
    with open_bundle(Path(run)) as bundle:
        predictor = open_predictor(bundle)
        wall, processor = time.perf_counter(), time.process_time()
        for start in range(0, len(files), size):
            batch = [predictor.prepared(file.read_bytes()) for file in files[start : start + size]]
            predictor.probabilities(np.stack(batch))
        speeds.add(len(files), time.perf_counter() - wall, time.process_time() - processor)


def transformed(run: str, folder: str, size: int, speeds: Speeds) -> None:
    """Measure a transform into JSON lines; its processor time includes opening the model."""
    processor = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        result = transform(run, folder, Path(place, "out.jsonl"), TransformOptions(batch_size=size))
    speeds.add(result.images, result.seconds, time.process_time() - processor)


def killed(run: str, folder: str, names: list[str], kills: int = 3) -> None:
    """Kill a transform a few times, let it finish, and print what it left each time."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place, "out.jsonl")
        words = [sys.executable, "-m", "clearsight", "transform", run, folder, str(out), "--json"]
        for number in range(1, kills + 1):
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while lines(out) < number * len(names) // (kills + 1) and process.poll() is None:
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"kill {number}: {lines(out):,} whole rows, exit code {process.returncode}")
        done = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
        paths = [json.loads(line)["path"] for line in out.read_text().splitlines()]
    print(f"the last command wrote {done['written']:,} of {done['images']:,}")
    print(f"rows {len(paths):,}, different {len(set(paths)):,}, in the order of the input: {paths == names}")


def lines(path: Path) -> int:
    """Return the number of whole lines."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def main() -> None:
    """Print the speeds and the outcome of the kills."""
    run, folder = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    files = list_images(Path(folder))[0]
    print(f"{len(files):,} images, {cores()} core(s), load {os.getloadavg()[0]:.1f}")
    plain = {size: Speeds() for size in BATCH_SIZES}
    threaded = {size: Speeds() for size in BATCH_SIZES}
    for _ in range(rounds):
        for size in BATCH_SIZES:
            plain_loop(run, files, size, plain[size])
            transformed(run, folder, size, threaded[size])
    for size in BATCH_SIZES:
        print(f"batch {size:>2}: plain {plain[size]}, transform {threaded[size]} images/s")
    for clock in ("wall", "processor"):
        best = max(statistics.median(getattr(speeds, clock)) for speeds in plain.values())
        ratio = statistics.median(getattr(threaded[32], clock)) / best
        print(f"transform at 32 against the best plain loop, by {clock} time: {ratio:.2f}")
    killed(run, folder, [file.relative_to(folder).as_posix() for file in files])


if __name__ == "__main__":
    main()
