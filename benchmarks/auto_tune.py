"""--auto-tune compared with a grid of loader workers and threads that is measured by hand.

    python benchmarks/auto_tune.py [--models resnet18 timm/mobilenetv2_100] [--data DIR] [--rounds 4] [--steps 6]

Whole networks train on intel-scenes at their own input size. First the tuner runs as `clearsight train --auto-tune`
does. Then its choice and every pair of the grid take turns in blocks of steps, round by round, so that other load on
the machine slows all of them. The figure: images/s of the choice over those of the best pair, median of rounds. The
choice may use more than the grid does: memory layout, precision, batch size; `--only workers threads` restricts it to
the same two.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from measured import machine, shared, spread

from clearsight.core.recipe import Recipe
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.datasets import loader_workers
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import make_setup, run_process
from clearsight.workflow.run.plan import run_seconds
from clearsight.workflow.speed.auto_tune import TUNABLE, auto_tune, worthwhile_seconds
from clearsight.workflow.speed.throughput import Candidate, ThroughputComparison

WORKERS, THREADS = (0, 1, 2, 4), (1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "timm/mobilenetv2_100"])
    parser.add_argument("--data", type=Path, default=shared() / "data" / "intel-scenes")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", nargs="+", default=list(TUNABLE), choices=TUNABLE)
    args = parser.parse_args()
    print(machine())
    for model in args.models:
        compare(model, args)


def compare(model: str, args: argparse.Namespace) -> None:
    """Tune, then measure the choice beside the grid."""
    recipe = Recipe().replace(model=model, weights="none", epochs=10)
    with tempfile.TemporaryDirectory() as cache, run_process(recipe, LaunchContext().world) as placement:
        launch = LaunchContext(paths=Paths.of({"CLEARSIGHT_CACHE": cache}))
        setup = make_setup(args.data, recipe, placement, launch)
        budget = worthwhile_seconds(run_seconds(setup, build_phases(setup)))
        tuning = auto_tune(setup, args.only, budget=budget)
        print(f"\n{model}: tuned in {tuning.seconds:.0f} s: {tuning.chosen}")
        print("  " + "\n  ".join(tuning.reasons))
        pairs = [{"workers": workers, "threads": threads} for workers in WORKERS for threads in THREADS]
        candidates = [Candidate(settings=settings) for settings in (tuning.chosen, *pairs)]
        comparison = ThroughputComparison(setup, largest=128)
        for _ in range(args.rounds):
            comparison.round(candidates, args.steps)
    speeds = [[block.images_per_second for block in candidate.blocks] for candidate in candidates]
    rates = np.array(speeds)  # (candidates, rounds)
    for candidate, blocks in zip(candidates, rates, strict=True):
        print(f"  {spread(list(blocks)):32} images/s  {dict(candidate.settings)}")
    best = 1 + int(np.median(rates[1:], axis=1).argmax())
    print(f"  choice over best pair {dict(candidates[best].settings)}: {spread(list(rates[0] / rates[best]), 3)}")
    default = rates[1 + pairs.index(default_pair(setup))]
    print(f"  choice over the default pair: {spread(list(rates[0] / default), 3)}")


def default_pair(setup: RunSetup) -> dict[str, int]:
    """Return the pair that a run has by default."""
    return {"workers": loader_workers(setup.recipe.data), "threads": setup.placement.threads}


if __name__ == "__main__":
    main()
