"""LowGPUUtilization names the device that has little to do, and why."""

from __future__ import annotations

from dataclasses import replace

from clearsight.core.finding import Severity
from clearsight.profiler.rules.low_gpu_utilization import LowGPUUtilization
from clearsight.testing.profiles import CPU_MACHINE
from clearsight.testing.rules import findings, only, verdict
from tests.profiler.rules.faults_d import WAITING, cpu, gpu, idle_gpu, on_cpu, on_gpu, two_gpus


def test_found_when_even_the_busiest_looks_are_low() -> None:
    finding = only(LowGPUUtilization(), idle_gpu())
    assert finding.found
    assert finding.subject == "gpu0"
    assert finding.threshold == 70
    assert finding.because == ("DataWait",)


def test_found_when_it_swings_between_much_and_nothing() -> None:
    finding = only(LowGPUUtilization(), on_gpu(gauges={"gpu0": [95.0, 2.0, 95.0, 95.0]}))
    assert finding.found
    assert finding.threshold == 10
    assert "swings between 2 % and" in finding.cause


def test_names_the_phase_that_takes_most_time() -> None:
    finding = only(LowGPUUtilization(), on_gpu(gauges={"gpu0": 40.0}, phases={"data": 0.001, "optimizer": 0.15}))
    assert "75 %, goes into optimizer" in finding.cause
    assert not finding.because


def test_speaks_of_each_gpu_the_idlest_first_but_not_of_one_that_is_not_used() -> None:
    told = findings(LowGPUUtilization(), on_gpu(gauges={"gpu0": 50.0, "gpu1": 20.0, "gpu2": 90.0, "gpu3": 0.0}))
    assert [finding.subject for finding in told] == ["gpu1", "gpu0"]


def test_without_a_gpu_idle_cores_are_what_counts() -> None:
    waiting = only(LowGPUUtilization(), on_cpu(gauges={"cpu": 40.0, "tree.cpu": 35.0}, phases=WAITING))
    assert waiting.found
    assert "the processor (8 cores)" in waiting.cause
    assert waiting.because == ("DataWait",)
    assert verdict(LowGPUUtilization(), cpu()) == "clear"


def test_too_few_threads_are_the_reason_where_there_are_more_cores() -> None:
    two = replace(CPU_MACHINE, threads=2)
    finding = only(LowGPUUtilization(), on_cpu(gauges={"cpu": 30.0, "tree.cpu": 27.0}, machine=two))
    assert finding.fix == {"threads": 8}
    assert "torch has 2 threads" in finding.cause


def test_cores_that_others_take_are_worth_knowing_and_no_fault_of_the_run() -> None:
    finding = only(LowGPUUtilization(), on_cpu(gauges={"cpu": 97.0, "tree.cpu": 50.0}))
    assert finding.found
    assert finding.severity is Severity.INFO
    assert "other processes take 47 % of the cores" in finding.cause


def test_without_times_of_phases_it_is_less_sure_and_says_how_to_see_more() -> None:
    finding = only(LowGPUUtilization(), on_gpu(gauges={"gpu0": 30.0}, phases={}))
    assert finding.confidence < 0.9
    assert "Time the phases" in finding.advice


def test_validation_does_not_count() -> None:
    idle_while_validating = on_cpu(pauses={"validation": {100: 30.0, 200: 30.0}})
    looks = only(LowGPUUtilization(), idle_while_validating)
    assert looks.verdict == "clear"


def test_only_the_newest_looks_count_where_a_window_is_said() -> None:
    better = on_gpu(gauges={"gpu0": [20.0] * 30 + [95.0] * 30})
    assert verdict(LowGPUUtilization(window=50), better) == "clear"
    assert verdict(LowGPUUtilization(threshold_p5=30), better) == "found"


def test_thresholds_can_be_said() -> None:
    assert verdict(LowGPUUtilization(threshold_p95=25), idle_gpu()) == "clear"
    assert [verdict(LowGPUUtilization(), run) for run in (gpu(), two_gpus())] == ["clear", "clear"]
