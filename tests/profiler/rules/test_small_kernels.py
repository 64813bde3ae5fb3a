"""SmallKernels finds traced operators that take longer to start than to compute."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Verdict
from clearsight.core.profile import Profile
from clearsight.profiler.rules.small_kernels import SmallKernels
from clearsight.testing.profiles import GPU_MACHINE, healthy_gpu, profiled
from clearsight.testing.rules import only
from tests.profiler.rules.other_rule_faults import CONTROLS, FAULTS, traced


def verdict_on(measured: Profile) -> Finding:
    return only(SmallKernels(), profiled(measured))


def test_found_when_the_gpu_waits_for_kernels() -> None:
    finding = only(SmallKernels(), FAULTS["SmallKernels"]())
    assert finding.verdict is Verdict.FOUND
    assert finding.value == pytest.approx(4.0)
    assert "2,500 kernels" in finding.cause
    assert "80 %" in finding.cause
    assert "aten::add_, 1250 times a step" in finding.cause
    assert finding.fix == {"batch_size": 64}
    assert finding.steps == (12, 17)


def test_clear_when_kernels_are_large() -> None:
    assert only(SmallKernels(), CONTROLS["SmallKernels"]()).verdict is Verdict.CLEAR


def test_small_kernels_that_fill_the_time_are_clear() -> None:
    assert verdict_on(traced(kernel=8e-6, kernels=5000, host=0.045)).verdict is Verdict.CLEAR


def test_on_a_cpu_operators_may_take_longer() -> None:
    assert verdict_on(traced(kernel=15e-6, kernels=1000, host=0.04, gpu=False)).found
    assert verdict_on(traced(kernel=15e-6, kernels=1000, host=0.018, gpu=False)).verdict is Verdict.CLEAR
    assert verdict_on(traced(kernel=15e-6, kernels=1000, host=0.04)).verdict is Verdict.CLEAR


def test_a_full_gpu_gets_no_larger_batch() -> None:
    full = traced(kernel=4e-6, kernels=2500, host=0.05, gauges={"gpu0.memory": 80.0})
    finding = verdict_on(full)
    assert finding.found
    assert "batch_size" not in finding.fix
    assert "CUDA graphs" in finding.advice


def test_channels_last_is_a_fix_if_it_is_off() -> None:
    off = traced(kernel=4e-6, kernels=2500, host=0.05, machine=replace(GPU_MACHINE, channels_last=False))
    assert verdict_on(off).fix["channels_last"] == "on"


def test_an_external_loop_gets_advice() -> None:
    finding = only(SmallKernels(), profiled(traced(kernel=4e-6, kernels=2500, host=0.05), context=RunContext()))
    assert finding.fix == {}
    assert "larger batches" in finding.advice


def test_without_a_trace_the_cause_names_the_setting() -> None:
    finding = verdict_on(healthy_gpu())
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert "--profile full" in finding.cause
