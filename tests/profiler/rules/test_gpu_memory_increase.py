"""GPUMemoryIncrease distinguishes a leak from a jump, and both from noise."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.finding import Severity
from clearsight.debugger.storage.tape import Tape
from clearsight.profiler.rules.gpu_memory_increase import GPUMemoryIncrease
from clearsight.testing.profiles import Values, profiled
from clearsight.testing.rules import findings, only, verdict
from tests.profiler.rules.sagemaker_rule_faults import cpu, gpu, leaking_gpu, on_gpu


def using(memory: Values, **more: Values) -> Tape:
    return on_gpu(gauges={"gpu0.memory": memory, **more})


def test_found_when_memory_grows_steadily() -> None:
    finding = only(GPUMemoryIncrease(), leaking_gpu())
    assert finding.found
    assert finding.severity is Severity.WARNING
    assert finding.subject == "gpu0"
    assert "loss.item()" in finding.advice


def test_a_slow_leak_is_found_without_a_large_rise() -> None:
    assert verdict(GPUMemoryIncrease(increase=10), using(np.linspace(40, 58, 120))) == "found"


def test_severe_when_memory_is_full_before_the_planned_end() -> None:
    live = profiled(leaking_gpu().profile, context=RunContext(steps=1200), ended=False)
    finding = only(GPUMemoryIncrease(), live)
    assert finding.severity is Severity.SEVERE
    assert "full at about step" in finding.cause
    assert only(
        GPUMemoryIncrease(), profiled(leaking_gpu().profile, context=RunContext(steps=400), ended=False)
    ).severity is (Severity.WARNING)


def test_a_jump_that_stays_is_info() -> None:
    finding = only(GPUMemoryIncrease(), using([40.0] * 3 + [55.0] * 3))
    assert finding.found
    assert finding.severity is Severity.INFO
    assert "in one jump" in finding.cause


def test_a_peak_that_goes_away_is_clear() -> None:
    assert verdict(GPUMemoryIncrease(), using([40.0] * 4 + [60.0] + [40.0] * 5)) == "clear"


@pytest.mark.parametrize("memory", [np.linspace(75, 40, 60), 80.0, np.linspace(60, 63, 60)])
def test_falling_flat_and_hardly_rising_memory_is_clear(memory: Values) -> None:
    assert verdict(GPUMemoryIncrease(), using(memory)) == "clear"


def test_memory_allocated_in_the_first_steps_does_not_count() -> None:
    assert verdict(GPUMemoryIncrease(), using([10.0] + [80.0] * 120)) == "clear"


def test_of_two_gpus_the_one_that_fills_is_named() -> None:
    found = findings(GPUMemoryIncrease(), using(60.0, gpu1=90.0, **{"gpu1.memory": np.linspace(40, 75, 60)}))
    assert [finding.subject for finding in found] == ["gpu1"]


def test_without_a_gpu_there_is_not_enough_data() -> None:
    finding = only(GPUMemoryIncrease(), cpu())
    assert finding.verdict == "not-enough-data"
    assert finding.cause == "this machine has no GPU"


def test_the_window_is_a_parameter() -> None:
    assert verdict(GPUMemoryIncrease(window=10, increase=5), leaking_gpu()) == "found"
    assert verdict(GPUMemoryIncrease(window=500), leaking_gpu()) == "clear"  # not one whole window
    assert verdict(GPUMemoryIncrease(), gpu()) == "clear"
