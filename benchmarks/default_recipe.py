"""The default recipe against its alternatives: accuracy and seconds of whole processes, on four datasets of two sizes.

    python benchmarks/default_recipe.py [--only intel-scenes-200,default] [--seeds 3] [--json results.jsonl]

Arms: the default; --freeze backbone; the default before it depended on anything (`before`: the whole network at 1e-3);
both phases at small rates, whatever the head leaves (`two phases`); and the defaults of fastai, timm's train script and
AutoGluon as plain loops (benchmarks/default_loops.py, which says what they leave out: none of these libraries is
installed). Every arm gets the same training images (benchmarks/default_data.py), holds out what it wants of them, and
is measured once on the same test images. clearsight also scans the images, calibrates, exports to ONNX and writes its
report; it starts without a cache. The seed draws the sample of 200 images, the split and all that is random in the
training.

Results are appended to the JSON-lines file as they come, and what is there already is not run again: the file beside
this script has those of one core (`taskset -c 0` or 1). "processor" are the seconds of user and system of the whole
process; unlike "seconds" they depend little on what else runs. The rows of 200 images are from a time when the machine
was about half as fast, so they compare among themselves. The interval is Wilson's 95 % interval over the test images of
all seeds together; it ignores that seeds share their test images.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from default_data import DATASETS, build
from measured import Timed, machine, shared, spread, timed

from clearsight.core.statistics import wilson

SIZES = (200, 0)  # training images; 0 for all
CLEARSIGHT: dict[str, tuple[str, ...]] = {
    "default": (),
    "backbone": ("--freeze", "backbone"),
    "before": (
        *("--freeze", "none", "--epochs", "10", "--lr", "1e-3", "--augment", "none"),
        *("--schedule", "cosine", "--valid-fraction", "0.15"),
    ),
    "two phases": ("--head-epochs", "30"),
}
LOOPS = ("fastai", "timm", "autogluon")


def run(arm: str, data: Path, seed: int) -> tuple[float, Timed]:
    """Return the test accuracy of an arm and its finished process."""
    weights = shared() / "weights" / "mobilenetv2_100_imagenet.safetensors"
    if arm in LOOPS:
        script = Path(__file__).with_name("default_loops.py")
        done = timed([sys.executable, script, arm, data, "--weights", weights, "--seed", seed])
        return float(json.loads(done.output)["test"]), done
    with tempfile.TemporaryDirectory() as fresh:
        words = [sys.executable, "-m", "clearsight", "train", data, "-m", "timm/mobilenetv2_100", "--weights", weights]
        words += [*CLEARSIGHT[arm], "--seed", seed, "--out", f"{fresh}/run", "--json"]
        done = timed(words, {**os.environ, "CLEARSIGHT_CACHE": f"{fresh}/cache"})
        return float(json.loads(done.output)["test"]["accuracy"]), done


def chosen(only: str) -> Iterator[tuple[str, int, str]]:
    """Yield (dataset, size, arm) of what --only names: "DATASET-SIZE", "DATASET" or an arm; none of a kind is all."""
    words = [word.strip() for word in only.split(",") if word.strip()]
    arms = [word for word in words if word in (*CLEARSIGHT, *LOOPS)]
    places = [word for word in words if word not in arms]
    for size in SIZES:
        for name in DATASETS:
            if not places or name in places or f"{name}-{size or 'all'}" in places:
                yield from ((name, size, arm) for arm in (arms or (*CLEARSIGHT, *LOOPS)))


def table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield one line per dataset, size and arm."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["data"], row["size"], row["arm"]].append(row)
    for (data, size, arm), group in sorted(groups.items(), key=lambda item: (item[0][0], -item[0][1], item[0][2])):
        accuracies, total = [row["accuracy"] for row in group], sum(row["n"] for row in group)
        low, high = wilson(round(statistics.mean(accuracies) * total), total)
        seconds = spread([row["processor"] for row in group], 0)
        yield (
            f"{data:<13} {size or 'all':>4}  {arm:<10} accuracy {statistics.mean(accuracies):.3f} "
            f"({low:.3f} to {high:.3f}, {len(group)} seeds), processor {seconds} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="datasets, such as intel-scenes or intel-scenes-200, and arms")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".jsonl"), help="file of results")
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "clearsight-default-recipe")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.json.read_text().splitlines()] if args.json.exists() else []
    have = {(row["data"], row["size"], row["arm"], row["seed"]) for row in rows}
    print(machine(), flush=True)
    for seed in range(args.seeds):
        for name, size, arm in chosen(args.only):
            if (name, size, arm, seed) in have:
                continue
            data = build(name, size, seed, args.data)
            accuracy, done = run(arm, data, seed)
            row = {"data": name, "size": size, "arm": arm, "seed": seed, "accuracy": accuracy}
            row |= {"seconds": round(done.seconds, 1), "processor": round(done.processor, 1)}
            row["n"] = sum(1 for _ in (data / "test").glob("*/*"))
            rows.append(row)
            with args.json.open("a") as results:
                results.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
    print(*table(rows), sep="\n")


if __name__ == "__main__":
    main()
