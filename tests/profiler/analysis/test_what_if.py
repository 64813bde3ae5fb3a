"""What-if estimates say what a change is worth before anybody tries it, and say nothing where nothing is known."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.profile import Machine, Profile
from clearsight.core.recipe import Recipe
from clearsight.profiler.analysis.what_if import WhatIf, what_if
from clearsight.testing.profiles import CPU_MACHINE, GIB, GPU_MACHINE, healthy_cpu, healthy_gpu, profile, profiled

PLAIN = replace(CPU_MACHINE, workers=8)


def named(measured: Profile, name: str, facts: RunContext | None = None) -> WhatIf | None:
    return next((one for one in what_if(measured, facts) if one.name == name), None)


def sure(measured: Profile, name: str, facts: RunContext | None = None) -> WhatIf:
    found = named(measured, name, facts)
    assert found is not None
    return found


def run(machine: Machine = PLAIN, **more: Any) -> Profile:
    told: dict[str, Any] = {
        "seconds": 0.2,
        "phases": {"data": 0.1, "forward": 0.03, "backward": 0.05, "optimizer": 0.015, "hook": 0.005},
        "load": {"decode": 0.5, "augment": 0.1, "images": 32},
        "noise": 0.05,
    }
    return profile(machine=machine, **(told | more))


def test_readers_are_held_against_what_they_can_deliver() -> None:
    few = sure(run(replace(PLAIN, workers=2)), "4 readers")
    assert few.change == {"workers": 4}
    assert few.seconds_now == pytest.approx(0.2, rel=0.02)
    assert few.seconds_then == pytest.approx(0.15, rel=0.02)  # 0.6 s of making, over four
    assert few.bound


def test_no_reader_makes_a_step_shorter_than_its_work() -> None:
    assert sure(run(replace(PLAIN, workers=4)), "8 readers").seconds_then == pytest.approx(0.1, rel=0.02)


def test_a_training_thread_that_reads_itself_gets_readers() -> None:
    alone = run(replace(PLAIN, workers=0, reading="here"), load={})
    then = sure(alone, "8 readers")
    assert then.seconds_then == pytest.approx(0.1, rel=0.02)
    assert named(alone, "no waiting for images") is None


def test_full_cores_bear_no_more_readers() -> None:
    full = run(replace(PLAIN, workers=2), gauges={"cpu": 98.0})
    assert named(full, "4 readers") is None


def test_waiting_is_taken_away_but_for_what_readers_need() -> None:
    assert sure(run(load={}), "no waiting for images").seconds_then == pytest.approx(0.1, rel=0.02)
    slow = sure(run(load={"decode": 1.2}), "no waiting for images")  # 0.15 s over eight readers
    assert slow.seconds_then == pytest.approx(0.15, rel=0.02)


def test_kept_images_need_no_decoding() -> None:
    decoding = run(replace(PLAIN, workers=2, pixels_kept=False), load={"decode": 0.4, "augment": 0.3})
    off = RunContext(settings={"keep_pixels": False})
    assert sure(decoding, "decoded images kept in memory", off).seconds_then == pytest.approx(0.15, rel=0.02)
    assert named(decoding, "decoded images kept in memory") is None


def sized(fixed: float, each: float) -> Profile:
    """Epochs of 20 steps of 32 images, the last of 8."""
    samples = np.tile([32] * 19 + [8], 10)
    seconds = fixed + each * samples
    return run(samples=samples, seconds=seconds, phases={"forward": 0.05}, load={}, per_epoch=20)


def test_a_larger_batch_shares_what_every_step_costs() -> None:
    twice = sure(sized(0.1, 0.003), "batches twice as large")
    assert twice.change == {"batch_size": 64}
    assert twice.seconds_then == pytest.approx(0.1 + 64 * 0.003, rel=0.03)
    assert twice.images_per_second_then == pytest.approx(64 / twice.seconds_then)
    assert "batches of 2 sizes" in twice.basis


def test_a_larger_batch_gains_nothing_where_images_cost_all() -> None:
    assert named(sized(0.0, 0.006), "batches twice as large") is None


def test_without_smaller_batches_only_the_optimizer_is_shared() -> None:
    twice = sure(run(phases={"forward": 0.1, "optimizer": 0.02}), "batches twice as large")
    assert twice.seconds_then == pytest.approx(0.38, rel=0.02)
    assert named(run(phases={"forward": 0.1}), "batches twice as large") is None


def test_a_larger_batch_needs_memory() -> None:
    half = run(GPU_MACHINE, gauges={"gpu0.memory": 35.0})
    assert named(half, "batches twice as large") is not None
    assert named(run(GPU_MACHINE, gauges={"gpu0.memory": 70.0}), "batches twice as large") is None
    tight = {"tree.memory": 6.0 * GIB, "memory.available": 4.0 * GIB}
    assert named(run(gauges=tight), "batches twice as large") is None


def test_layout_and_precision_promise_the_lower_end_and_only_where_they_are_off() -> None:
    off = run(replace(PLAIN, channels_last=False))
    layout = sure(off, "channels last")
    assert layout.change == {"channels_last": "on"}
    assert layout.seconds_now - layout.seconds_then == pytest.approx(0.08 * (1 - 1 / 1.1), rel=0.03)
    assert layout.bound
    assert named(run(), "channels last") is None
    assert named(run(replace(PLAIN, channels_last=None)), "channels last") is None


def test_half_precision_is_promised_on_gpus_alone() -> None:
    fp32 = replace(GPU_MACHINE, precision="fp32")
    timed = run(fp32, device={"forward": 0.04, "backward": 0.08})
    then = sure(timed, "bf16 numbers")
    assert then.seconds_now - then.seconds_then == pytest.approx(0.04, rel=0.03)
    assert named(run(fp32), "bf16 numbers") is None  # its own clock was not read
    assert named(run(), "bf16 numbers") is None
    assert named(run(GPU_MACHINE, device={"forward": 0.04}), "bf16 numbers") is None


def test_crowded_threads_are_held_against_the_quickest_steps() -> None:
    seconds = np.where(np.arange(200) % 5 == 0, 0.1, 0.3)
    crowded = run(replace(PLAIN, threads=32), seconds=seconds, phases={"forward": 0.05}, load={}, noise=0.0)
    then = sure(crowded, "one thread a core")
    assert then.change == {"threads": 8}
    assert then.seconds_then == pytest.approx(0.1)


def test_watching_can_be_left_out() -> None:
    then = sure(run(), "no debugger")
    assert then.change == {"debug": "off"}
    assert then.seconds_now - then.seconds_then == pytest.approx(0.005, rel=0.02)


@pytest.mark.parametrize(
    "measured", [run(replace(PLAIN, workers=2, channels_last=False)), healthy_cpu(), healthy_gpu()]
)
def test_estimates_are_sorted_finite_and_name_recipe_fields(measured: Profile) -> None:
    told = what_if(measured, profiled(measured).facts)
    assert [one.gain for one in told] == sorted((one.gain for one in told), reverse=True)
    assert all(one.gain >= 0.01 and one.basis and one.seconds_then > 0 for one in told)
    for one in told:
        Recipe().replace(**one.change)
    json.dumps([asdict(one) for one in told], allow_nan=False)


def test_few_steps_and_unknown_batches_give_nothing() -> None:
    assert what_if(Profile()) == []
    assert what_if(run(steps=22)) == []
    assert what_if(run(replace(PLAIN, batch_size=0), samples=0)) == []
    assert what_if(run(samples=0)) != []
