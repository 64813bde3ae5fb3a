"""LowGPUUtilization names the device that is hardly used, and the reason."""

from __future__ import annotations

from dataclasses import replace

from clearsight.core.finding import Severity
from clearsight.profiler.rules.low_gpu_utilization import LowGPUUtilization
from clearsight.testing.profiles import CPU_MACHINE
from clearsight.testing.rules import findings, only, verdict
from tests.profiler.rules.sagemaker_rule_faults import WAITING, cpu, gpu, idle_gpu, on_cpu, on_gpu, two_gpus


def test_found_when_even_the_busiest_samples_are_low() -> None:
    finding = only(LowGPUUtilization(), idle_gpu())
    assert finding.found
    assert finding.subject == "gpu0"
    assert finding.threshold == 70
    assert finding.because == ("DataWait",)


def test_found_when_use_varies_between_much_and_nothing() -> None:
    finding = only(LowGPUUtilization(), on_gpu(gauges={"gpu0": [95.0, 2.0, 95.0, 95.0]}))
    assert finding.found
    assert finding.threshold == 10
    assert "varies between 2 % and" in finding.cause


def test_names_the_phase_that_takes_most_time() -> None:
    finding = only(LowGPUUtilization(), on_gpu(gauges={"gpu0": 40.0}, phases={"data": 0.001, "optimizer": 0.15}))
    assert "75 %, is spent on optimizer" in finding.cause
    assert not finding.because


def test_lists_the_used_gpus_the_idlest_first() -> None:
    found = findings(LowGPUUtilization(), on_gpu(gauges={"gpu0": 50.0, "gpu1": 20.0, "gpu2": 90.0, "gpu3": 0.0}))
    assert [finding.subject for finding in found] == ["gpu1", "gpu0"]


def test_without_a_gpu_the_cores_are_the_device() -> None:
    waiting = only(LowGPUUtilization(), on_cpu(gauges={"cpu": 40.0, "tree.cpu": 35.0}, phases=WAITING))
    assert waiting.found
    assert "the processor (8 cores)" in waiting.cause
    assert waiting.because == ("DataWait",)
    assert verdict(LowGPUUtilization(), cpu()) == "clear"


def test_fewer_threads_than_cores_are_the_reason() -> None:
    two = replace(CPU_MACHINE, threads=2)
    finding = only(LowGPUUtilization(), on_cpu(gauges={"cpu": 30.0, "tree.cpu": 27.0}, machine=two))
    assert finding.fix == {"threads": 8}
    assert "torch has 2 threads" in finding.cause


def test_cores_in_use_by_other_processes_are_info() -> None:
    finding = only(LowGPUUtilization(), on_cpu(gauges={"cpu": 97.0, "tree.cpu": 50.0}))
    assert finding.found
    assert finding.severity is Severity.INFO
    assert "other processes use 47 % of the cores" in finding.cause


def test_without_timed_phases_the_confidence_is_lower() -> None:
    finding = only(LowGPUUtilization(), on_gpu(gauges={"gpu0": 30.0}, phases={}))
    assert finding.confidence < 0.9
    assert "Time the phases" in finding.advice


def test_validation_does_not_count() -> None:
    idle_while_validating = on_cpu(pauses={"validation": {100: 30.0, 200: 30.0}})
    assert verdict(LowGPUUtilization(), idle_while_validating) == "clear"


def test_the_window_is_a_parameter() -> None:
    better = on_gpu(gauges={"gpu0": [20.0] * 30 + [95.0] * 30})
    assert verdict(LowGPUUtilization(window=50), better) == "clear"
    assert verdict(LowGPUUtilization(threshold_p5=30), better) == "found"


def test_thresholds_are_parameters() -> None:
    assert verdict(LowGPUUtilization(threshold_p95=25), idle_gpu()) == "clear"
    assert [verdict(LowGPUUtilization(), run) for run in (gpu(), two_gpus())] == ["clear", "clear"]
