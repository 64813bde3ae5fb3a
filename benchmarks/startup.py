"""Start-up time of `clearsight --help` and `import clearsight`, and the share of digests in a start from the caches.

    python benchmarks/startup.py

Times of commands are of whole processes after one warm-up; the bare interpreter is measured in the same run. The start
of a run is timed within one process, imports excluded, which makes the share of the digests larger: data listed and
scanned from the cache, the network built, features of the backbone read from the cache. Both arms take turns. In the
second, what is read from a cache is not checked; that is all that differs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from measured import machine, shared, spread, timed

from clearsight.core.dataset import Dataset
from clearsight.core.preprocess import Preprocess
from clearsight.core.recipe import Recipe
from clearsight.data.loader import Loader, LoadPlan
from clearsight.training.distributed import World
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.feature_batches import read_features
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import make_setup, run_process

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "clearsight --help": [sys.executable, "-m", "clearsight", "--help"],
    "import clearsight": [sys.executable, "-c", "import clearsight"],
    "clearsight train --help": [sys.executable, "-m", "clearsight", "train", "--help"],
}


def main() -> None:
    print(machine())
    for name, words in COMMANDS.items():
        timed(words)
        print(f"{name}: {spread([timed(words).seconds for _ in range(20)], 3)} s")
    loaded = timed([sys.executable, "-c", "import sys, clearsight; print('torch' in sys.modules)"]).output.strip()
    print(f"import clearsight loads torch: {loaded}")
    with tempfile.TemporaryDirectory() as cache:
        cached_start(Paths(cache=Path(cache), weights=()))


def cached_start(paths: Paths) -> None:
    """Time the start of a run from the caches, and a pass over its images, with digests and without."""
    weights = shared() / "weights" / "mobilenetv2_100_imagenet.safetensors"
    recipe = Recipe().replace(weights=str(weights), freeze="backbone", epochs=1, threads=1, workers=1)
    data: list[Dataset] = []

    def start() -> None:
        with run_process(recipe, World()) as placement:
            setup = make_setup(shared() / "data" / "intel-scenes", recipe, placement, LaunchContext(paths=paths))
            read_features(build_phases(setup))
        data[:] = [setup.data]

    start()  # fills the caches
    compare(f"start from the caches, {len(data[0])} images", start, start, unchecked, 10)
    without = replace(data[0], samples=tuple(replace(sample, digest="") for sample in data[0].samples))
    compare("pass over the images", lambda: load(data[0]), lambda: load(without), nullcontext, 5)


def load(data: Dataset) -> None:
    for _ in Loader(data, Preprocess(size=224, resize=256), LoadPlan(batch_size=32, workers=1)).epoch(1):
        pass


@contextmanager
def unchecked() -> Iterator[None]:
    """Believe the caches within the block."""
    with (
        patch("clearsight.training.feature_cache._sealed", lambda entry, manifest: manifest.digest),
        patch("clearsight.data.scan.read_sealed", lambda path, content: path.read_text().partition("\n")[2]),
    ):
        yield


def compare(
    name: str, checked: Callable[[], None], plain: Callable[[], None], block: Callable[[], object], count: int
) -> None:
    seconds: dict[str, list[float]] = {"with digests": [], "without": []}
    for _ in range(count):
        for arm, work, context in (("with digests", checked, nullcontext), ("without", plain, block)):
            with context():  # type: ignore[attr-defined]
                begun = time.process_time()
                work()
                seconds[arm].append(time.process_time() - begun)
    ratio = statistics.median(seconds["with digests"]) / statistics.median(seconds["without"])
    arms = ", ".join(f"{arm} {spread(values, 3)} s" for arm, values in seconds.items())
    print(f"{name}: {arms} of processor time; ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
