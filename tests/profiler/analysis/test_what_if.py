"""What-if estimates give the gain of a change before a trial, and none without the measurements they need."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.profile import Machine, Profile
from clearsight.core.recipe import Recipe
from clearsight.profiler.analysis.what_if import StepModel, WhatIf, step_model, what_if
from clearsight.testing.profiles import CPU_MACHINE, GIB, GPU_MACHINE, healthy_cpu, healthy_gpu, profile, profiled

PLAIN = replace(CPU_MACHINE, workers=8)


def find_estimate(measured: Profile, name: str, context: RunContext | None = None) -> WhatIf | None:
    return next((estimate for estimate in what_if(measured, context) if estimate.name == name), None)


def estimate_of(measured: Profile, name: str, context: RunContext | None = None) -> WhatIf:
    estimate = find_estimate(measured, name, context)
    assert estimate is not None
    return estimate


def run(machine: Machine = PLAIN, **more: Any) -> Profile:
    values: dict[str, Any] = {
        "seconds": 0.2,
        "phases": {"data": 0.1, "forward": 0.03, "backward": 0.05, "optimizer": 0.015, "hook": 0.005},
        "load": {"decode": 0.5, "augment": 0.1, "images": 32},
        "noise": 0.05,
    }
    return profile(machine=machine, **(values | more))


def test_more_loader_workers_cannot_beat_their_own_speed() -> None:
    few = estimate_of(run(replace(PLAIN, workers=2)), "4 loader workers")
    assert few.change == {"workers": 4}
    assert few.seconds_now == pytest.approx(0.2, rel=0.02)
    assert few.seconds_then == pytest.approx(0.15, rel=0.02)  # 0.6 s of loading, over four
    assert few.bound


def test_no_loader_worker_makes_a_step_shorter_than_its_work() -> None:
    assert estimate_of(run(replace(PLAIN, workers=4)), "8 loader workers").seconds_then == pytest.approx(0.1, rel=0.02)


def test_a_training_thread_that_loads_by_itself_gets_workers() -> None:
    alone = run(replace(PLAIN, workers=0, reading="here"), load={})
    then = estimate_of(alone, "8 loader workers")
    assert then.seconds_then == pytest.approx(0.1, rel=0.02)
    assert find_estimate(alone, "no waiting for images") is None


def test_full_cores_have_no_room_for_workers() -> None:
    full = run(replace(PLAIN, workers=2), gauges={"cpu": 98.0})
    assert find_estimate(full, "4 loader workers") is None


def test_no_wait_is_bounded_by_the_work_of_the_loader_workers() -> None:
    assert estimate_of(run(load={}), "no waiting for images").seconds_then == pytest.approx(0.1, rel=0.02)
    slow = estimate_of(run(load={"decode": 1.2}), "no waiting for images")  # 0.15 s over eight workers
    assert slow.seconds_then == pytest.approx(0.15, rel=0.02)


def test_images_in_memory_need_no_decoding() -> None:
    decoding = run(replace(PLAIN, workers=2, pixels_kept=False), load={"decode": 0.4, "augment": 0.3})
    off = RunContext(settings={"keep_pixels": False})
    assert estimate_of(decoding, "decoded images kept in memory", off).seconds_then == pytest.approx(0.15, rel=0.02)
    assert find_estimate(decoding, "decoded images kept in memory") is None


def sized(fixed: float, each: float) -> Profile:
    """Epochs of 20 steps of 32 images, the last of 8."""
    samples = np.tile([32] * 19 + [8], 10)
    seconds = fixed + each * samples
    return run(samples=samples, seconds=seconds, phases={"forward": 0.05}, load={}, per_epoch=20)


def test_a_larger_batch_shares_the_fixed_part_of_a_step() -> None:
    twice = estimate_of(sized(0.1, 0.003), "batches twice as large")
    assert twice.change == {"batch_size": 64}
    assert twice.seconds_then == pytest.approx(0.1 + 64 * 0.003, rel=0.03)
    assert twice.images_per_second_then == pytest.approx(64 / twice.seconds_then)
    assert "measured on batches of 2 sizes" in twice.basis


def test_a_larger_batch_gains_nothing_if_images_cost_everything() -> None:
    assert find_estimate(sized(0.0, 0.006), "batches twice as large") is None


def test_without_smaller_batches_only_the_optimizer_is_shared() -> None:
    twice = estimate_of(run(phases={"forward": 0.1, "optimizer": 0.02}), "batches twice as large")
    assert twice.seconds_then == pytest.approx(0.38, rel=0.02)
    assert find_estimate(run(phases={"forward": 0.1}), "batches twice as large") is None


def test_a_larger_batch_needs_memory() -> None:
    half = run(GPU_MACHINE, gauges={"gpu0.memory": 35.0})
    assert find_estimate(half, "batches twice as large") is not None
    assert find_estimate(run(GPU_MACHINE, gauges={"gpu0.memory": 70.0}), "batches twice as large") is None
    tight = {"tree.memory": 6.0 * GIB, "memory.available": 4.0 * GIB}
    assert find_estimate(run(gauges=tight), "batches twice as large") is None


def test_channels_last_promises_the_lower_end_and_only_if_it_is_off() -> None:
    off = run(replace(PLAIN, channels_last=False))
    layout = estimate_of(off, "channels last")
    assert layout.change == {"channels_last": "on"}
    assert layout.seconds_now - layout.seconds_then == pytest.approx(0.08 * (1 - 1 / 1.1), rel=0.03)
    assert layout.bound
    assert find_estimate(run(), "channels last") is None
    assert find_estimate(run(replace(PLAIN, channels_last=None)), "channels last") is None


def test_half_precision_is_estimated_on_gpus_alone() -> None:
    fp32 = replace(GPU_MACHINE, precision="fp32")
    timed = run(fp32, device={"forward": 0.04, "backward": 0.08})
    then = estimate_of(timed, "bf16 precision")
    assert then.seconds_now - then.seconds_then == pytest.approx(0.04, rel=0.03)
    assert find_estimate(run(fp32), "bf16 precision") is None  # its own clock was not read
    assert find_estimate(run(), "bf16 precision") is None
    assert find_estimate(run(GPU_MACHINE, device={"forward": 0.04}), "bf16 precision") is None


def test_one_thread_per_core_is_as_fast_as_the_fastest_steps() -> None:
    seconds = np.where(np.arange(200) % 5 == 0, 0.1, 0.3)
    crowded = run(replace(PLAIN, threads=32), seconds=seconds, phases={"forward": 0.05}, load={}, noise=0.0)
    then = estimate_of(crowded, "one thread per core")
    assert then.change == {"threads": 8}
    assert then.seconds_then == pytest.approx(0.1)


def test_the_debugger_can_be_left_out() -> None:
    then = estimate_of(run(), "no debugger")
    assert then.change == {"debug": "off"}
    assert then.seconds_now - then.seconds_then == pytest.approx(0.005, rel=0.02)


@pytest.mark.parametrize(
    "measured", [run(replace(PLAIN, workers=2, channels_last=False)), healthy_cpu(), healthy_gpu()]
)
def test_estimates_are_sorted_finite_and_name_recipe_fields(measured: Profile) -> None:
    estimates = what_if(measured, profiled(measured).context)
    assert [estimate.gain for estimate in estimates] == sorted((e.gain for e in estimates), reverse=True)
    assert all(e.gain >= 0.01 and e.basis and e.seconds_then > 0 for e in estimates)
    for estimate in estimates:
        Recipe().replace(**estimate.change)
    json.dumps([asdict(estimate) for estimate in estimates], allow_nan=False)


def test_few_steps_and_unknown_batches_give_nothing() -> None:
    assert what_if(Profile()) == []
    assert what_if(run(steps=22)) == []
    assert what_if(run(replace(PLAIN, batch_size=0), samples=0)) == []
    assert what_if(run(samples=0)) != []


# StepModel

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
