"""Whole networks, 24 trials on handwritten digits: two workers that prune, against one after another to the end.

    python benchmarks/parallel_tuning.py [--repeats 3]

All arms search at random with the same seed, so they try the same 24 points; the best is picked by validation loss. A
single worker trains on two threads and each of two on one, which is rounded differently; so what pruning alone changes
is told by a third arm: two workers, to the end.
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


def tuned(data: Path, seed: int, *more: object) -> tuple[float, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as fresh:
        words = [sys.executable, "-m", "clearsight", "tune", data, "-m", "tiny", "--weights", "none", "--epochs", 9]
        words += [word for one in SPACE for word in ("--space", one)]
        words += ["--metric", "loss", "--search", "random", "--trials", 24, "--seed", seed, "--json"]
        done = timed([*words, *more, "--out", f"{fresh}/study"])
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
            one, whole = tuned(data, seed, "--parallel", 1, "--prune", "none")
            two, cut = tuned(data, seed, "--parallel", 2, "--prune", "asha")
            _, alike = tuned(data, seed, "--parallel", 2, "--prune", "none")
            rows.append((one, two))
            print(f"seed {seed}: {one:.0f} s and {two:.0f} s, {cut['saved']['pruned_trials']} pruned")
            for name, arm in (("one after another", whole), ("two workers", alike), ("two workers with ASHA", cut)):
                print(f"  best of {name}: loss {arm['best']['value']:.4f} at {arm['best']['params']}")
    print(f"one after another {spread([a for a, _ in rows])} s, two workers with ASHA {spread([b for _, b in rows])} s")
    print(f"  share of the time: {spread([b / a for a, b in rows], 2)}")


if __name__ == "__main__":
    main()
