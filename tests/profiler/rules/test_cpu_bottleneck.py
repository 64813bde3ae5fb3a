"""CPUBottleneck finds full cores that the device waits for."""

from __future__ import annotations

from clearsight.core.context import RunContext
from clearsight.profiler.rules.cpu_bottleneck import CPUBottleneck
from clearsight.testing.profiles import profile, profiled
from clearsight.testing.rules import only, verdict
from tests.profiler.rules.sagemaker_rule_faults import WAITING, cpu, full_cores, gpu, on_cpu, on_gpu


def test_found_when_cores_are_full_and_the_gpu_is_idle() -> None:
    finding = only(CPUBottleneck(), full_cores())
    assert finding.found
    assert finding.value == 100
    assert "while the GPU was below 10 %" in finding.cause
    assert [series.name for series in finding.evidence] == ["cpu", "gpu0"]


def test_full_cores_beside_a_busy_gpu_are_clear() -> None:
    assert verdict(CPUBottleneck(), on_gpu(gauges={"cpu": 98.0})) == "clear"


def test_the_share_of_samples_decides() -> None:
    assert verdict(CPUBottleneck(), on_gpu(gauges={"cpu": 98.0, "gpu0": [5, 5, 90, 90, 90]})) == "clear"
    assert verdict(CPUBottleneck(), on_gpu(gauges={"cpu": 98.0, "gpu0": [5, 5, 5, 90, 90]})) == "found"
    assert verdict(CPUBottleneck(threshold=70), on_gpu(gauges={"cpu": 98.0, "gpu0": [5, 5, 5, 90, 90]})) == "clear"


def test_without_a_gpu_full_cores_count_only_while_steps_wait() -> None:
    assert verdict(CPUBottleneck(), on_cpu(gauges={"cpu": 98.0})) == "clear"
    finding = only(CPUBottleneck(), on_cpu(gauges={"cpu": 98.0}, phases=WAITING))
    assert finding.found
    assert "waiting for its batch" in finding.cause


def test_without_a_gpu_and_without_phases_there_is_not_enough_data() -> None:
    assert verdict(CPUBottleneck(), on_cpu(gauges={"cpu": 98.0}, phases={})) == "not-enough-data"


def test_the_fix_keeps_pixels_that_are_dropped() -> None:
    measured = full_cores().profile
    assert only(CPUBottleneck(), profiled(measured, context=RunContext(settings={"keep_pixels": False}))).fix == {
        "keep_pixels": True
    }
    assert not only(CPUBottleneck(), profiled(measured)).fix


def test_an_unused_gpu_beside_a_busy_one_is_not_idle() -> None:
    assert verdict(CPUBottleneck(gpu_threshold=60), on_gpu(gauges={"cpu": 98.0, "gpu1": 0.0})) == "clear"


def test_clear_on_healthy_runs_and_patient_with_short_ones() -> None:
    assert [verdict(CPUBottleneck(), run) for run in (cpu(), gpu())] == ["clear", "clear"]
    short = profile(steps=20, seconds=0.2, phases=WAITING, gauges={"cpu": 99.0})
    assert verdict(CPUBottleneck(), profiled(short)) == "not-enough-data"
    assert verdict(CPUBottleneck(patience=5), profiled(short)) == "found"
