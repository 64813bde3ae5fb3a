"""GPUMemoryIncrease tells a leak from a jump, and both from noise."""

from __future__ import annotations

import numpy as np
import pytest

from clearsight.core.context import RunContext
from clearsight.core.finding import Severity
from clearsight.debugger.storage.tape import Tape
from clearsight.profiler.rules.gpu_memory_increase import GPUMemoryIncrease
from clearsight.testing.profiles import Values, profiled
from clearsight.testing.rules import findings, only, verdict
from tests.profiler.rules.faults_d import cpu, gpu, leaking_gpu, on_gpu


def held(memory: Values, **more: Values) -> Tape:
    return on_gpu(gauges={"gpu0.memory": memory, **more})


def test_found_when_memory_grows_all_the_time() -> None:
    finding = only(GPUMemoryIncrease(), leaking_gpu())
    assert finding.found
    assert finding.severity is Severity.WARNING
    assert finding.subject == "gpu0"
    assert "loss.item()" in finding.advice


def test_a_slow_leak_is_found_though_no_window_rises_by_much() -> None:
    assert verdict(GPUMemoryIncrease(increase=10), held(np.linspace(40, 58, 120))) == "found"


def test_it_is_severe_where_memory_is_full_before_the_planned_end() -> None:
    live = profiled(leaking_gpu().profile, facts=RunContext(steps=1200), ended=False)
    finding = only(GPUMemoryIncrease(), live)
    assert finding.severity is Severity.SEVERE
    assert "full at about step" in finding.cause
    assert only(
        GPUMemoryIncrease(), profiled(leaking_gpu().profile, facts=RunContext(steps=400), ended=False)
    ).severity is (Severity.WARNING)


def test_a_jump_that_stays_is_worth_knowing_and_no_more() -> None:
    finding = only(GPUMemoryIncrease(), held([40.0] * 3 + [55.0] * 3))
    assert finding.found
    assert finding.severity is Severity.INFO
    assert "in one jump" in finding.cause


def test_a_peak_that_goes_away_is_clear() -> None:
    assert verdict(GPUMemoryIncrease(), held([40.0] * 4 + [60.0] + [40.0] * 5)) == "clear"


@pytest.mark.parametrize("memory", [np.linspace(75, 40, 60), 80.0, np.linspace(60, 63, 60)])
def test_falling_flat_and_hardly_rising_memory_is_clear(memory: Values) -> None:
    assert verdict(GPUMemoryIncrease(), held(memory)) == "clear"


def test_memory_that_is_taken_in_the_first_steps_does_not_count() -> None:
    assert verdict(GPUMemoryIncrease(), held([10.0] + [80.0] * 120)) == "clear"


def test_of_two_gpus_the_one_that_fills_is_named() -> None:
    told = findings(GPUMemoryIncrease(), held(60.0, gpu1=90.0, **{"gpu1.memory": np.linspace(40, 75, 60)}))
    assert [finding.subject for finding in told] == ["gpu1"]


def test_without_a_gpu_it_says_so() -> None:
    finding = only(GPUMemoryIncrease(), cpu())
    assert finding.verdict == "not-enough-data"
    assert finding.cause == "there is no GPU to look at"


def test_sagemakers_window_is_honoured() -> None:
    assert verdict(GPUMemoryIncrease(window=10, increase=5), leaking_gpu()) == "found"
    assert verdict(GPUMemoryIncrease(window=500), leaking_gpu()) == "clear"  # not one whole window
    assert verdict(GPUMemoryIncrease(), gpu()) == "clear"
