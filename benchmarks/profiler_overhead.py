"""What measuring costs, counted in two ways on the steps of the real training loop.

    python benchmarks/profiler_overhead.py [--models resnet18 tiny] [--device cuda] [--blocks 30] [--every 0.5]

Accounted: processor seconds of the training thread inside the step clock's calls, files included, and of the thread
that reads gauges, each over the seconds of the steps. Other work on the machine hardly disturbs it.
Compared: blocks of steps with the profiler and without take turns in one training; the median step of each block over
that of the block before it. It includes everything, and all the noise there is: the interval is a bootstrap over pairs
of blocks (95 %, 2,000 draws).
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
from clearsight.profiler.recording import Recording
from clearsight.profiler.timing.step_timer import StepTimer
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
from clearsight.workflow.run.profiling import machine_of

SECONDS = 3.0  # about, of a block


class Switch:
    """A stopwatch that measures while it is on, and adds up what that takes."""

    def __init__(self) -> None:
        self.to: Any = NullStopwatch()
        self.on = False
        self.seconds = 0.0

    def phase(self, name: str) -> Counted:
        return Counted(self, self._timed(lambda: self.to.phase(name)))

    def stretch(self, name: str, step: int, epoch: int) -> Any:
        return self.to.stretch(name, step, epoch)

    def note_images(self, images: Any) -> None:
        self._timed(lambda: self.to.note_images(images))

    def step(self, step: int, epoch: int, samples: int) -> None:
        self._timed(lambda: self.to.step(step, epoch, samples))

    def cut(self) -> None:
        self._timed(lambda: self.to.cut())

    def _timed(self, call: Callable[[], Any]) -> Any:
        began = (
            time.thread_time()
        )  # of this thread alone: a reader that gets its turn in here costs the profiler nothing
        result = call()
        self.seconds += time.thread_time() - began if self.on else 0.0
        return result


class Counted:
    """A phase whose beginning and end are timed."""

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
            around = LaunchContext(places=Paths.of({"CLEARSIGHT_CACHE": f"{folder}/cache"}))
            setting = make_setup(shared() / "data" / "intel-scenes", recipe, placement, around)
            report(model, *measure(setting, Path(folder), args.blocks), args)


def measure(setting: RunSetup, folder: Path, blocks: int) -> tuple[np.ndarray, float, float]:
    """Seconds of each step (blocks, steps), every second block measured; those inside the clock; those of gauges."""
    cuda = setting.placement.device.type == "cuda"
    switch, phase = Switch(), build_phases(setting)[-1]
    job = TrainingJob(
        network=setting.network.model,
        phases=[phase],
        recipe=setting.recipe,
        checkpoints=Checkpoints(folder),
        observers=[],
        stop=StopSignal(),
        world=setting.world,
        device=setting.placement.device,
        precision=setting.placement.precision,
        stopwatch=switch,
    )
    rehearsal, gauges = ThroughputTrial(job, phase), 0.0
    rehearsal.load()
    steps = max(5, round(SECONDS / (rehearsal.steps(10).seconds / 10)))
    seconds = np.zeros((blocks, steps))
    for block in range(blocks):
        recording, counted = None, switch.seconds
        if block % 2:
            where, every = folder / f"profile-{block}", setting.recipe.profile.profile_every
            recording = Recording(where, machine_of(setting), every=every, cuda=cuda, loads=setting.load_times.sums)
            recording.start()
            assert isinstance(recording.clock, StepTimer)
            switch.to, switch.on = recording, True
        rehearsal.steps(2, seconds=0.5)  # a run starts its profiler once, a block here again and again
        switch.seconds = counted
        before = thread_seconds()
        for place in range(steps):
            seconds[block, place] = rehearsal.steps(1).seconds
        gauges += thread_seconds() - before if recording is not None else 0.0
        switch.to, switch.on = NullStopwatch(), False
        if recording is not None:
            recording.close()
            if recording.failure:
                raise RuntimeError(recording.failure)
    rehearsal.close()
    return seconds, switch.seconds, gauges


def thread_seconds() -> float:
    """Processor seconds so far of the threads that look at the machine."""
    clocks = (time.pthread_getcpuclockid(t.ident) for t in threading.enumerate() if t.ident and "sampler" in t.name)
    return sum(time.clock_gettime(clock) for clock in clocks)


def report(model: str, seconds: np.ndarray, inside: float, gauges: float, args: argparse.Namespace) -> None:
    """Print both ways of counting."""
    bare, measured = seconds[0::2], seconds[1::2]
    pairs = np.median(measured, axis=1) / np.median(bare, axis=1)[: len(measured)] - 1
    rng = np.random.default_rng(0)
    draws = [np.median(rng.choice(pairs, len(pairs))) for _ in range(2000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    print(f"{model}, {args.device}: {1000 * np.median(bare):.1f} ms a step without, {measured.size} measured steps")
    share = 100 * inside / measured.sum()
    print(f"  accounted: {share:.3f} % in the step clock ({1e6 * inside / measured.size:.0f} us a step),", end=" ")
    print(f"{100 * gauges / measured.sum():.2f} % of one core for gauges every {args.every:g} s")
    print(f"  compared: {100 * np.median(pairs):+.2f} % ({100 * low:+.2f} to {100 * high:+.2f}, n={len(pairs)} pairs)")


if __name__ == "__main__":
    main()
