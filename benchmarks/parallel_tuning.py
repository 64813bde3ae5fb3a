"""Whole networks, 24 trials on handwritten digits: two workers with pruning, against one worker without.

    python benchmarks/parallel_tuning.py [--repeats 3]

All arms search at random with the same seed, so they run the same 24 trials; the best has the lowest validation loss.
One worker trains on two threads and each of two workers on one, which rounds differently; so a third arm, two workers
without pruning, shows what pruning alone changes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from measured import machine, spread, timed

from clearsight.workflow.quickstart import write_digits

SPACE = ("lr=log(1e-4,1e-1)", "weight_decay=log(1e-5,1e-1)", "batch_size=[32,64,128]")


def tune(data: Path, seed: int, *options: object) -> tuple[float, dict[str, Any]]:
    """Return the seconds of the whole process, and its JSON."""
    with tempfile.TemporaryDirectory() as fresh:
        words = [sys.executable, "-m", "clearsight", "tune", data, "-m", "tiny", "--weights", "none", "--epochs", 9]
        words += [word for text in SPACE for word in ("--space", text)]
        words += ["--metric", "loss", "--search", "random", "--trials", 24, "--seed", seed, "--json"]
        done = timed([*words, *options, "--out", f"{fresh}/study"])
        return done.seconds, json.loads(done.output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        data = write_digits(Path(folder) / "digits")
        rows = []
        for seed in range(args.repeats):
            serial_seconds, serial = tune(data, seed, "--parallel", 1, "--prune", "none")
            pruned_seconds, pruned = tune(data, seed, "--parallel", 2, "--prune", "asha")
            _, unpruned = tune(data, seed, "--parallel", 2, "--prune", "none")
            rows.append((serial_seconds, pruned_seconds))
            count = pruned["saved"]["pruned_trials"]
            print(f"seed {seed}: {serial_seconds:.0f} s and {pruned_seconds:.0f} s, {count} pruned")
            arms = (("one worker", serial), ("two workers", unpruned), ("two workers with ASHA", pruned))
            for name, arm in arms:
                print(f"  best of {name}: loss {arm['best']['value']:.4f} at {arm['best']['params']}")
    print(f"one worker {spread([a for a, _ in rows])} s, two workers with ASHA {spread([b for _, b in rows])} s")
    print(f"  share of the time: {spread([b / a for a, b in rows], 2)}")


if __name__ == "__main__":
    main()
