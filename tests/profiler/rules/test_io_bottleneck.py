"""IOBottleneck finds loader workers that wait for storage while the device waits for them."""

from __future__ import annotations

from dataclasses import replace

from clearsight.core.context import RunContext
from clearsight.profiler.rules.io_bottleneck import IOBottleneck
from clearsight.testing.profiles import CPU_MACHINE, GPU_MACHINE, profiled
from clearsight.testing.rules import only, verdict
from tests.profiler.rules.sagemaker_rule_faults import WAITING, cpu, gpu, on_cpu, on_gpu, slow_disk


def test_found_when_all_workers_wait_for_storage() -> None:
    finding = only(IOBottleneck(), slow_disk())
    assert finding.found
    assert "80 % of the cores' time" in finding.cause
    assert "local disk" in finding.advice


def test_the_limit_is_a_share_of_the_cores_that_workers_can_make_wait() -> None:
    two = replace(GPU_MACHINE, workers=2)
    assert verdict(IOBottleneck(), on_gpu(gauges={"cpu.iowait": 20.0, "gpu0": 5.0}, machine=two)) == "found"
    assert verdict(IOBottleneck(), on_gpu(gauges={"cpu.iowait": 20.0, "gpu0": 5.0})) == "clear"


def test_an_unknown_number_of_workers_can_make_all_cores_wait() -> None:
    unknown = replace(GPU_MACHINE, workers=None)
    assert verdict(IOBottleneck(), on_gpu(gauges={"cpu.iowait": 45.0, "gpu0": 5.0}, machine=unknown)) == "clear"
    assert verdict(IOBottleneck(), on_gpu(gauges={"cpu.iowait": 60.0, "gpu0": 5.0}, machine=unknown)) == "found"


def test_waiting_beside_a_busy_gpu_is_clear() -> None:
    assert verdict(IOBottleneck(), on_gpu(gauges={"cpu.iowait": 80.0})) == "clear"


def test_without_a_gpu_steps_must_wait() -> None:
    here = replace(CPU_MACHINE, workers=0, reading="here")
    assert verdict(IOBottleneck(), on_cpu(gauges={"cpu.iowait": 10.0}, machine=here)) == "clear"
    assert verdict(IOBottleneck(), on_cpu(gauges={"cpu.iowait": 10.0}, machine=here, phases=WAITING)) == "found"


def test_the_fix_keeps_pixels_that_are_dropped() -> None:
    drops_pixels = RunContext(settings={"keep_pixels": False})
    assert only(IOBottleneck(), profiled(slow_disk().profile, context=drops_pixels)).fix == {"keep_pixels": True}


def test_clear_on_healthy_runs() -> None:
    assert [verdict(IOBottleneck(), run) for run in (cpu(), gpu())] == ["clear", "clear"]
