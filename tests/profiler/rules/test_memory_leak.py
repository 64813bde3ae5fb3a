"""MemoryLeak finds growth with every step, but no jumps, no noise and no images that are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.profile import Profile
from clearsight.profiler.rules.memory_leak import MemoryLeak
from clearsight.testing.profiles import CPU_MACHINE, GIB, context_of, profile, profiled
from clearsight.testing.rules import only
from tests.profiler.rules.other_rule_faults import CONTROLS, FAULTS, MIB, growing

EXTERNAL = replace(CPU_MACHINE, pixels_kept=None, workers=2, reading="processes")
RNG = np.random.default_rng(11)


def verdict_on(measured: Profile, *, ended: bool = True, steps: int | None = None, **settings: Any) -> Finding:
    known = context_of(measured)
    known = replace(known, steps=steps or known.steps, settings={**known.settings, **settings})
    return only(MemoryLeak(), profiled(measured, context=known, ended=ended))


def with_memory(memory: Any, *, steps: int = 200, machine: Any = EXTERNAL, per_epoch: int = 50) -> Profile:
    """A run of 0.25 s a step with this memory, one value per sample; the available memory is unknown."""
    gauges = {"tree.memory": memory}
    return profile(
        steps=steps, seconds=0.25, phases={"forward": 0.2}, gauges=gauges, machine=machine, per_epoch=per_epoch
    )


def test_found_when_it_grows_with_every_step() -> None:
    finding = only(MemoryLeak(), FAULTS["MemoryLeak"]())
    assert finding.verdict is Verdict.FOUND
    assert finding.severity is Severity.WARNING
    assert finding.value == pytest.approx(2.0, rel=0.05)
    assert "2 MB a step" in finding.cause
    assert "loss.item()" in finding.advice
    assert finding.steps is not None
    assert finding.steps[0] > 50


def test_clear_with_the_noise_of_an_allocator() -> None:
    assert only(MemoryLeak(), CONTROLS["MemoryLeak"]()).verdict is Verdict.CLEAR
    for seed in range(40):
        noise = 40 * MIB * np.random.default_rng(seed).standard_normal(101)
        assert verdict_on(with_memory(GIB + noise)).verdict is Verdict.CLEAR, seed


@pytest.mark.parametrize("a_step", [1 * MIB, 2 * MIB, 3 * MIB])
def test_found_in_a_run_of_sixty_steps(a_step: float) -> None:
    short = growing(steps=60, seconds=0.5, a_step=a_step, per_epoch=60, machine=EXTERNAL)
    assert only(MemoryLeak(), profiled(short, context=RunContext())).found


def test_severe_when_memory_runs_out_before_the_end() -> None:
    finding = verdict_on(growing(), ended=False, steps=50_000)
    assert finding.severity is Severity.SEVERE
    assert "of 50,000" in finding.cause
    assert verdict_on(growing(), ended=False, steps=5_000).severity is Severity.WARNING


def test_one_jump_is_no_leak() -> None:
    for share in np.arange(0.1, 1.0, 0.025):
        jump = np.where(np.arange(101) < 101 * share, GIB, 1.5 * GIB) + 2 * MIB * RNG.standard_normal(101)
        assert verdict_on(with_memory(jump)).verdict is Verdict.CLEAR, share


def test_peaks_that_return_are_no_leak() -> None:
    sawtooth = GIB + 300 * MIB * (np.arange(101) % 25) / 25
    assert verdict_on(with_memory(sawtooth)).verdict is Verdict.CLEAR


def varying_within_steps(a_step: float, *, steps: int = 60) -> Profile:
    """A run whose memory rises by 200 MB in each step and falls again, as in forward and backward."""
    samples = 2 * int(steps * 0.65) + 1
    places = np.linspace(0, steps, samples)
    within = 200 * MIB * np.sin(np.pi * (places % 1)) + 15 * MIB * RNG.standard_normal(samples)
    gauges = {"tree.memory": GIB + within + a_step * places}
    return profile(steps=steps, seconds=0.65, gauges=gauges, machine=EXTERNAL, per_epoch=steps)


def test_memory_that_varies_within_a_step_hides_no_leak() -> None:
    assert verdict_on(varying_within_steps(3 * MIB)).found
    assert verdict_on(varying_within_steps(2 * MIB, steps=120)).found
    for steps in range(40, 80):
        assert verdict_on(varying_within_steps(0, steps=steps)).verdict is Verdict.CLEAR, steps


def test_growth_that_ends_is_no_leak() -> None:
    settling = GIB + 600 * MIB * (1 - np.exp(-np.linspace(0, 12, 101))) + MIB * RNG.standard_normal(101)
    assert verdict_on(with_memory(settling)).verdict is Verdict.CLEAR


def test_images_kept_in_the_first_epoch_are_no_leak() -> None:
    filling = GIB + 900 * MIB * np.clip(np.linspace(0, 4, 101), 0, 1) + MIB * RNG.standard_normal(101)
    assert verdict_on(with_memory(filling, machine=CPU_MACHINE)).verdict is Verdict.CLEAR
    assert verdict_on(with_memory(filling)).verdict is Verdict.CLEAR


def test_in_the_first_epoch_growth_may_be_kept_images() -> None:
    filling = growing(steps=100, per_epoch=100, a_step=10 * MIB)
    finding = verdict_on(filling, ended=False)
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert "second epoch" in finding.cause
    assert verdict_on(growing(steps=100, per_epoch=100, a_step=300 * MIB), ended=False).found


def test_a_leak_that_begins_late_is_found() -> None:
    late = GIB + 4 * MIB * np.clip(np.arange(401) - 250, 0, None) + MIB * RNG.standard_normal(401)
    assert verdict_on(with_memory(late, steps=800)).found


def test_little_growth_is_clear() -> None:
    assert verdict_on(growing(a_step=0.05 * MIB)).verdict is Verdict.CLEAR


def test_worker_processes_are_named_if_there_are_any() -> None:
    assert "worker process" in verdict_on(growing(machine=EXTERNAL)).advice
    assert "worker process" not in verdict_on(growing()).advice


def test_an_unknown_size_of_memory_is_not_assumed() -> None:
    memory = GIB + 3 * MIB * np.arange(101)
    finding = verdict_on(with_memory(memory, machine=replace(EXTERNAL, memory_bytes=0)))
    assert finding.found
    assert "none left" not in finding.cause


def test_the_missing_data_is_counted() -> None:
    finding = verdict_on(profile(steps=100, seconds=0.25))
    assert finding.points is not None
    assert (finding.points.have, finding.points.want, finding.points.of) == (0, 12, "profiler samples")
    in_second_epoch = verdict_on(growing(steps=52, seconds=0.5))
    assert in_second_epoch.verdict is Verdict.NOT_ENOUGH_DATA


def test_memory_that_fills_up_is_not_announced_while_the_run_goes_on() -> None:
    """Growth that slows down: what an allocator and our own records do. A leak grows as fast as at its start."""
    filling = GIB + 1200 * MIB * (1 - np.exp(-np.arange(101) / 33))
    assert not verdict_on(with_memory(filling), ended=False).found
    leaking = GIB + 6 * MIB * np.arange(101)
    assert verdict_on(with_memory(leaking), ended=False).found
