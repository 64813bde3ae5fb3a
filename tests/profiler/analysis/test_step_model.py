"""A StepModel splits a step into parts that add up."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.profiler.analysis.step_model import StepModel, step_model
from clearsight.testing.profiles import GPU_MACHINE, profile

PHASES = {"data": 0.03, "forward": 0.05, "backward": 0.1, "optimizer": 0.01}


def of(**run: object) -> StepModel:
    step = step_model(profile(**({"seconds": 0.2, "phases": PHASES} | run)))  # type: ignore[arg-type]
    assert step is not None
    return step


def test_means_that_add_up() -> None:
    step = of(noise=0.05)
    assert step.images == 32
    assert step.seconds == pytest.approx(0.2, rel=0.02)
    assert step.wait == pytest.approx(0.03, rel=0.02)
    assert step.work == pytest.approx(step.seconds - 0.03, rel=0.02)
    assert step.of("forward", "backward") == pytest.approx(0.15, rel=0.02)
    assert step.of("loss") == 0
    assert (step.fixed, step.batch_sizes) == (pytest.approx(0.01, rel=0.02), 1)


def test_the_slowest_hundredth_does_not_count() -> None:
    seconds = np.full(200, 0.2)
    seconds[170] = 60.0
    assert of(seconds=seconds).seconds == pytest.approx(0.2)


def test_the_work_of_loader_workers_counts_per_batch() -> None:
    step = of(load={"decode": 0.4, "augment": 0.1})
    assert step.loading == pytest.approx(0.5)
    assert step.augmenting == pytest.approx(0.1)
    assert of().loading is None


def test_smaller_batches_show_the_part_that_does_not_depend_on_the_size() -> None:
    samples = np.tile([32] * 9 + [16], 20)
    step = of(samples=samples, seconds=0.03 + 0.05 + 0.004 * samples, per_epoch=10, noise=0.02)
    assert step.fixed == pytest.approx(0.05, rel=0.15)
    assert step.batch_sizes == 2


def test_the_gpus_clock_counts_if_it_was_read() -> None:
    step = of(device={"forward": 0.08}, machine=GPU_MACHINE)
    assert step.of("forward") == pytest.approx(0.08)


def test_too_few_steps_give_none() -> None:
    assert step_model(profile(steps=22)) is None
