"""ThreadOversubscription compares threads with cores, and checks context switches beside a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clearsight.core.context import RunContext
from clearsight.core.finding import Finding, Verdict
from clearsight.core.profile import Profile
from clearsight.profiler.rules.thread_oversubscription import ThreadOversubscription
from clearsight.testing.profiles import CPU_MACHINE, GPU_MACHINE, healthy_gpu, profile, profiled
from clearsight.testing.rules import only
from tests.profiler.rules.other_rule_faults import CONTROLS, FAULTS, crowded


def verdict_on(measured: Profile) -> Finding:
    return only(ThreadOversubscription(), profiled(measured))


def test_found_with_twice_as_many_threads_as_cores() -> None:
    finding = only(ThreadOversubscription(), FAULTS["ThreadOversubscription"]())
    assert finding.verdict is Verdict.FOUND
    assert finding.value == pytest.approx(2.0)
    assert finding.fix == {"threads": 8}
    assert "16 threads compute on 8 cores" in finding.cause
    assert {series.name for series in finding.evidence} == {"context switches a second and core", "seconds of a step"}


def test_clear_with_a_thread_for_each_core() -> None:
    assert only(ThreadOversubscription(), CONTROLS["ThreadOversubscription"]()).verdict is Verdict.CLEAR
    assert verdict_on(healthy_gpu()).verdict is Verdict.CLEAR


def test_beside_a_gpu_context_switches_decide() -> None:
    machine = replace(GPU_MACHINE, threads=16)
    assert verdict_on(crowded(machine=machine)).found
    assert verdict_on(crowded(machine=machine, switches=8 * 20.0)).verdict is Verdict.CLEAR
    assert verdict_on(crowded(machine=machine, switches=float("nan"))).verdict is Verdict.NOT_ENOUGH_DATA


@pytest.mark.parametrize("switches", [float("nan"), 8 * 20.0])
def test_on_a_cpu_threads_alone_decide(switches: float) -> None:
    finding = verdict_on(crowded(switches=switches))
    assert finding.found
    assert finding.confidence < 0.9


def test_busy_loader_workers_count_too() -> None:
    machine = replace(CPU_MACHINE, workers=16)
    busy = {"decode": 6.0, "images": 32}  # of the 0.5 s of a step: twelve workers busy

    def run(load: dict[str, float]) -> Profile:
        gauges = {"tree.switches": 8 * 900.0}
        return profile(seconds=0.5, phases={"data": 0.2, "forward": 0.2}, load=load, gauges=gauges, machine=machine)

    finding = verdict_on(run(busy))
    assert finding.found
    assert "beside 12.0 busy loader workers" in finding.cause
    assert finding.fix == {"workers": 4}
    assert verdict_on(run({"decode": 1.0})).verdict is Verdict.CLEAR


def test_an_external_loop_gets_calls_as_advice() -> None:
    finding = only(ThreadOversubscription(), profiled(crowded(), context=RunContext()))
    assert finding.fix == {}
    assert "torch.set_num_threads(8)" in finding.advice
    assert "OMP_WAIT_POLICY=passive" in finding.advice


def test_unknown_threads_are_not_enough_data() -> None:
    assert verdict_on(crowded(threads=0)).verdict is Verdict.NOT_ENOUGH_DATA
