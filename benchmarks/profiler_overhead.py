"""Overhead of the profiler on the steps of the real training loop, measured in two ways.

    python benchmarks/profiler_overhead.py [--models resnet18 tiny] [--device cuda] [--blocks 30] [--every 0.5]

Accounted: processor seconds of the training thread in the calls of the step timer, files included, and of the thread
that samples gauges, each divided by the seconds of the steps. Other work on the machine hardly disturbs it.
Compared: blocks of steps with and without the profiler alternate in one training; the median step of each block is
divided by that of the block before it. This includes every effect, and all noise: the interval is a bootstrap over
pairs of blocks (95 %, 2,000 draws).
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measured import machine, shared

from clearsight.core.recipe import Recipe
from clearsight.profiler.recording import Recording, RecordingOptions
from clearsight.training.checkpoint import Checkpoints
from clearsight.training.job import TrainingJob
from clearsight.training.protocols import NullStopwatch
from clearsight.training.stop import StopSignal
from clearsight.training.throughput import ThroughputTrial
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.phases import build_phases
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import make_setup, run_process
from clearsight.workflow.run.profiling import run_machine

SECONDS = 3.0  # of a block, about: long against the noise of single steps, short against drifts of the machine


class Switch:
    """Stopwatch that passes calls on and adds up their processor time while it is on."""

    def __init__(self) -> None:
        self.target: Any = NullStopwatch()
        self.on = False
        self.seconds = 0.0

    def phase(self, name: str) -> CountedPhase:
        return CountedPhase(self, self._timed(lambda: self.target.phase(name)))

    def span(self, name: str, step: int, epoch: int) -> Any:
        return self.target.span(name, step, epoch)

    def note_images(self, images: Any) -> None:
        self._timed(lambda: self.target.note_images(images))

    def step(self, step: int, epoch: int, samples: int) -> None:
        self._timed(lambda: self.target.step(step, epoch, samples))

    def cut(self) -> None:
        self._timed(lambda: self.target.cut())

    def _timed(self, call: Callable[[], Any]) -> Any:
        # Of this thread alone: a loader thread that runs in between is not the profiler's cost.
        start = time.thread_time()
        result = call()
        self.seconds += time.thread_time() - start if self.on else 0.0
        return result


class CountedPhase:
    """Phase whose beginning and end are timed."""

    def __init__(self, switch: Switch, phase: Any) -> None:
        self.switch, self.inner = switch, phase

    def __enter__(self) -> None:
        self.switch._timed(self.inner.__enter__)

    def __exit__(self, *error: object) -> None:
        self.switch._timed(lambda: self.inner.__exit__(*error))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet18", "tiny"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--every", type=float, default=0.5)
    args = parser.parse_args()
    print(machine())
    for model in args.models:
        recipe = Recipe().replace(model=model, weights="none", device=args.device, profile_every=args.every)
        with tempfile.TemporaryDirectory() as folder, run_process(recipe, LaunchContext().world) as placement:
            launch = LaunchContext(paths=Paths.of({"CLEARSIGHT_CACHE": f"{folder}/cache"}))
            setup = make_setup(shared() / "data" / "intel-scenes", recipe, placement, launch)
            report(model, *measure(setup, Path(folder), args.blocks), args)


def measure(setup: RunSetup, folder: Path, blocks: int) -> tuple[np.ndarray, float, float]:
    """Return the seconds of each step (blocks, steps), those in the step timer, and those of the gauges.

    Every second block runs with the profiler.
    """
    switch, phase = Switch(), build_phases(setup)[-1]
    job = TrainingJob(
        network=setup.network.model,
        phases=[phase],
        recipe=setup.recipe,
        checkpoints=Checkpoints(folder),
        observers=[],
        stop=StopSignal(),
        world=setup.world,
        device=setup.placement.device,
        precision=setup.placement.precision,
        stopwatch=switch,
    )
    trial, gauges = ThroughputTrial(job, phase), 0.0
    trial.load()
    steps = max(5, round(SECONDS / (trial.steps(10).seconds / 10)))
    seconds = np.zeros((blocks, steps))
    for block in range(blocks):
        recording, seconds_before = None, switch.seconds
        if block % 2:
            options = RecordingOptions(every=setup.recipe.profile.profile_every)
            parts = (setup.recipe, setup.placement, setup.world, setup.network.preprocess, len(setup.train))
            recording = Recording(
                folder / f"profile-{block}", run_machine(*parts), options, loads=setup.load_times.sums
            )
            recording.start()
            switch.target, switch.on = recording, True
        trial.steps(2, seconds=0.5)  # not counted: a run starts its profiler once, and here every second block does
        switch.seconds = seconds_before
        before = thread_seconds()
        for place in range(steps):
            seconds[block, place] = trial.steps(1).seconds
        gauges += thread_seconds() - before if recording is not None else 0.0
        switch.target, switch.on = NullStopwatch(), False
        if recording is not None:
            recording.close()
            if recording.failure:
                raise RuntimeError(recording.failure)
    trial.close()
    return seconds, switch.seconds, gauges


def thread_seconds() -> float:
    """Return the processor seconds so far of the threads that sample gauges."""
    clocks = (time.pthread_getcpuclockid(t.ident) for t in threading.enumerate() if t.ident and "sampler" in t.name)
    return sum(time.clock_gettime(clock) for clock in clocks)


def report(model: str, seconds: np.ndarray, inside: float, gauges: float, args: argparse.Namespace) -> None:
    """Print the overhead measured in both ways."""
    bare, measured = seconds[0::2], seconds[1::2]
    pairs = np.median(measured, axis=1) / np.median(bare, axis=1)[: len(measured)] - 1
    rng = np.random.default_rng(0)
    draws = [np.median(rng.choice(pairs, len(pairs))) for _ in range(2000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    print(f"{model}, {args.device}: {1000 * np.median(bare):.1f} ms a step without, {measured.size} measured steps")
    share = 100 * inside / measured.sum()
    print(f"  accounted: {share:.3f} % in the step timer ({1e6 * inside / measured.size:.0f} us a step),", end=" ")
    print(f"{100 * gauges / measured.sum():.2f} % of one core for gauges every {args.every:g} s")
    print(f"  compared: {100 * np.median(pairs):+.2f} % ({100 * low:+.2f} to {100 * high:+.2f}, n={len(pairs)} pairs)")


if __name__ == "__main__":
    main()
