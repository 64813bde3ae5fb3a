"""MemoryLeak finds what grows with every step, and lets jumps, noise and kept images pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Severity, Verdict
from clearsight.core.profile import Profile
from clearsight.profiler.rules.memory_leak import MemoryLeak
from clearsight.testing.profiles import CPU_MACHINE, GIB, profile, profiled, told
from clearsight.testing.rules import only
from tests.profiler.rules.faults_e import CONTROLS, FAULTS, MIB, growing

FOREIGN = replace(CPU_MACHINE, pixels_kept=None, workers=2, reading="processes")
RNG = np.random.default_rng(11)


def judged(measured: Profile, *, ended: bool = True, steps: int | None = None, **settings: Any) -> Finding:
    known = told(measured)
    known = replace(known, steps=steps or known.steps, settings={**known.settings, **settings})
    return only(MemoryLeak(), profiled(measured, facts=known, ended=ended))


def remembering(memory: Any, *, steps: int = 200, machine: Any = FOREIGN, per_epoch: int = 50) -> Profile:
    """A run of 0.25 s a step with this memory, one value per look, and no word of how much is left."""
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
        assert judged(remembering(GIB + noise)).verdict is Verdict.CLEAR, seed


@pytest.mark.parametrize("a_step", [1 * MIB, 2 * MIB, 3 * MIB])
def test_found_in_a_run_of_sixty_steps(a_step: float) -> None:
    short = growing(steps=60, seconds=0.5, a_step=a_step, per_epoch=60, machine=FOREIGN)
    assert only(MemoryLeak(), profiled(short, facts=RunContext())).found


def test_severe_when_memory_runs_out_before_the_end() -> None:
    finding = judged(growing(), ended=False, steps=50_000)
    assert finding.severity is Severity.SEVERE
    assert "of 50,000" in finding.cause
    assert judged(growing(), ended=False, steps=5_000).severity is Severity.WARNING


def test_one_jump_is_no_leak() -> None:
    for share in np.arange(0.1, 1.0, 0.025):
        jump = np.where(np.arange(101) < 101 * share, GIB, 1.5 * GIB) + 2 * MIB * RNG.standard_normal(101)
        assert judged(remembering(jump)).verdict is Verdict.CLEAR, share


def test_peaks_that_return_are_no_leak() -> None:
    saw = GIB + 300 * MIB * (np.arange(101) % 25) / 25
    assert judged(remembering(saw)).verdict is Verdict.CLEAR


def breathing(a_step: float, *, steps: int = 60) -> Profile:
    """A run whose memory rises by 200 MB in each step and falls again, as forward and backward do it."""
    looks = 2 * int(steps * 0.65) + 1
    at = np.linspace(0, steps, looks)
    swing = 200 * MIB * np.sin(np.pi * (at % 1)) + 15 * MIB * RNG.standard_normal(looks)
    gauges = {"tree.memory": GIB + swing + a_step * at}
    return profile(steps=steps, seconds=0.65, gauges=gauges, machine=FOREIGN, per_epoch=steps)


def test_memory_that_comes_and_goes_within_a_step_hides_no_leak() -> None:
    assert judged(breathing(3 * MIB)).found
    assert judged(breathing(2 * MIB, steps=120)).found
    for steps in range(40, 80):
        assert judged(breathing(0, steps=steps)).verdict is Verdict.CLEAR, steps


def test_growth_that_comes_to_rest_is_no_leak() -> None:
    rest = GIB + 600 * MIB * (1 - np.exp(-np.linspace(0, 12, 101))) + MIB * RNG.standard_normal(101)
    assert judged(remembering(rest)).verdict is Verdict.CLEAR


def test_images_kept_in_the_first_epoch_are_no_leak() -> None:
    filling = GIB + 900 * MIB * np.clip(np.linspace(0, 4, 101), 0, 1) + MIB * RNG.standard_normal(101)
    assert judged(remembering(filling, machine=CPU_MACHINE)).verdict is Verdict.CLEAR
    assert judged(remembering(filling)).verdict is Verdict.CLEAR


def test_in_the_first_epoch_growth_may_be_kept_images() -> None:
    filling = growing(steps=100, per_epoch=100, a_step=10 * MIB)
    finding = judged(filling, ended=False)
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert "second epoch" in finding.cause
    assert judged(growing(steps=100, per_epoch=100, a_step=300 * MIB), ended=False).found


def test_a_leak_that_begins_late_is_found() -> None:
    late = GIB + 4 * MIB * np.clip(np.arange(401) - 250, 0, None) + MIB * RNG.standard_normal(401)
    assert judged(remembering(late, steps=800)).found


def test_little_growth_is_clear() -> None:
    assert judged(growing(a_step=0.05 * MIB)).verdict is Verdict.CLEAR


def test_worker_processes_are_named_where_there_are_any() -> None:
    assert "worker process" in judged(growing(machine=FOREIGN)).advice
    assert "worker process" not in judged(growing()).advice


def test_unknown_room_is_not_guessed() -> None:
    memory = GIB + 3 * MIB * np.arange(101)
    finding = judged(remembering(memory, machine=replace(FOREIGN, memory_bytes=0)))
    assert finding.found
    assert "none left" not in finding.cause


def test_says_how_much_is_missing() -> None:
    finding = judged(profile(steps=100, seconds=0.25))
    assert finding.points is not None
    assert (finding.points.have, finding.points.want, finding.points.of) == (0, 12, "looks at the machine")
    begun = judged(growing(steps=52, seconds=0.5))
    assert begun.verdict is Verdict.NOT_ENOUGH_DATA
