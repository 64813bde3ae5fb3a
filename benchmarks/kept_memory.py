"""Gain from reusing freed memory in the next step: training on a CPU with and without `keep_memory`, in turns.

    python benchmarks/kept_memory.py [--models timm/mobilenetv2_100 resnet18 vit_b_16] [--rounds 6] [--steps 4]

Steps of the real training loop on intel-scenes, batch 32, one block with and one without, round by round in one
process. The figure is the ratio of images per second of neighbouring blocks; page faults are minor ones, per step.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from contextlib import nullcontext

from measured import machine, shared, spread

from clearsight.core.recipe import Recipe
from clearsight.training.allocator import keep_freed_memory
from clearsight.workflow.paths import Paths
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import make_setup, run_process
from clearsight.workflow.speed.throughput import Candidate, ThroughputComparison


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["timm/mobilenetv2_100", "resnet18"])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    print(machine())
    for model in args.models:
        compare(model, args.rounds, args.steps)


def compare(model: str, rounds: int, steps: int) -> None:
    """Blocks in turns, the order swapped each round."""
    recipe = Recipe().replace(model=model, weights="none", keep_memory=False)
    with tempfile.TemporaryDirectory() as cache, run_process(recipe, LaunchContext().world) as placement:
        launch = LaunchContext(paths=Paths.of({"CLEARSIGHT_CACHE": cache}))
        setup = make_setup(shared() / "data" / "intel-scenes", recipe, placement, launch)
        comparison = ThroughputComparison(setup, largest=32)
        comparison.round([Candidate(settings={})], 2)  # sets up kernels and images
        arms = {keep: Candidate(settings={}) for keep in (False, True)}
        faults: dict[bool, list[float]] = {False: [], True: []}
        for number in range(rounds):
            for keep in (False, True) if number % 2 else (True, False):
                with keep_freed_memory() if keep else nullcontext():
                    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
                    comparison.round([arms[keep]], steps)
                    faults[keep].append((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (steps + 2))
    ratios = [
        late.images_per_second / early.images_per_second
        for early, late in zip(arms[False].blocks, arms[True].blocks, strict=True)
    ]
    print(f"{model}: {spread([block.images_per_second for block in arms[False].blocks])} images/s without,")
    print(f"  {spread([block.images_per_second for block in arms[True].blocks])} with; ratio {spread(ratios, 2)}")
    print(f"  page faults a step {spread(faults[False], 0)} without, {spread(faults[True], 0)} with")


if __name__ == "__main__":
    main()
